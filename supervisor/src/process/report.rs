//! What a shim tells the supervisor: messages of one size on its socket.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::process::Pid;
use tokio::net::UnixStream;

/// The size of a message.
const SIZE: usize = 16;

/// One message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Report {
    /// The shim is there. The first message after each request.
    Shim(Pid),
    /// The root of the tree executes.
    Started(Pid),
    /// It does not execute, and nothing is left of it.
    Failed(Failure),
    /// The root ended, with this wait status.
    RootExited(i32),
    /// The shim has no child left: the tree is gone. The last message until the next request.
    Empty {
        /// Time on a processor that the whole tree used, in milliseconds.
        cpu_ms: u64,
    },
}

/// Why nothing executes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// What was being done.
    pub stage: Stage,
    /// The kernel's answer.
    pub errno: i32,
}

/// Why a process does not execute. Nothing is left of it.
#[derive(Debug)]
pub(super) enum SpawnError {
    /// A step before the program failed.
    Refused(Failure),
    /// Its shim or the zygote ended before it could tell.
    Vanished,
    /// The request could not be made.
    Io(io::Error),
}

impl<E: Into<io::Error>> From<E> for SpawnError {
    fn from(error: E) -> Self {
        Self::Io(error.into())
    }
}

/// The steps from a request to an executing process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Making the shim and the child.
    Fork,
    /// Reading the request.
    Request,
    /// A session of its own, signals as they are by default.
    Session,
    /// Standard input, output and error.
    Stdio,
    /// Becoming the user.
    Identity,
    /// Entering the working directory.
    Cwd,
    /// Executing.
    Exec,
    /// Entering the control group.
    Group,
}

impl Stage {
    const ALL: [Self; 8] = [
        Self::Fork,
        Self::Request,
        Self::Session,
        Self::Stdio,
        Self::Identity,
        Self::Cwd,
        Self::Exec,
        Self::Group,
    ];
}

impl Failure {
    /// The failure of `stage` with `error`.
    pub(super) fn new(stage: Stage, error: rustix::io::Errno) -> Self {
        Self {
            stage,
            errno: error.raw_os_error(),
        }
    }
}

impl Report {
    /// The message as bytes.
    pub(super) fn encode(self) -> [u8; SIZE] {
        let (kind, a, b): (u32, i32, u64) = match self {
            Self::Shim(pid) => (0, pid.as_raw_nonzero().get(), 0),
            Self::Started(root) => (1, root.as_raw_nonzero().get(), 0),
            Self::Failed(failure) => (2, failure.errno, failure.stage as u64),
            Self::RootExited(status) => (3, status, 0),
            Self::Empty { cpu_ms } => (4, 0, cpu_ms),
        };
        let mut bytes = [0; SIZE];
        bytes[..4].copy_from_slice(&kind.to_ne_bytes());
        bytes[4..8].copy_from_slice(&a.to_ne_bytes());
        bytes[8..].copy_from_slice(&b.to_ne_bytes());
        bytes
    }

    /// Reads what [`Report::encode`] wrote; `None` if it is something else.
    pub(super) fn decode(bytes: [u8; SIZE]) -> Option<Self> {
        let [k0, k1, k2, k3, a0, a1, a2, a3, rest @ ..] = bytes;
        let a = i32::from_ne_bytes([a0, a1, a2, a3]);
        let b = u64::from_ne_bytes(rest);
        match u32::from_ne_bytes([k0, k1, k2, k3]) {
            1 => Some(Self::Started(Pid::from_raw(a)?)),
            0 => Some(Self::Shim(Pid::from_raw(a)?)),
            2 => Some(Self::Failed(Failure {
                stage: *Stage::ALL.get(usize::try_from(b).ok()?)?,
                errno: a,
            })),
            3 => Some(Self::RootExited(a)),
            4 => Some(Self::Empty { cpu_ms: b }),
            _ => None,
        }
    }

    /// Writes the messages in one piece. That nobody reads means that the supervisor is gone, which the shim
    /// learns by a signal.
    pub(super) fn send<const COUNT: usize>(socket: impl AsFd, reports: [Self; COUNT]) {
        let bytes = reports.map(Self::encode);
        let _ = rustix::io::write(socket, bytes.as_flattened());
    }
}

/// The supervisor's end of a shim's socket.
#[derive(Debug)]
pub(super) struct Reports {
    socket: UnixStream,
    buffer: [u8; 4 * SIZE],
    filled: usize,
    read: usize,
}

impl Reports {
    /// Of the shim at the other end of `socket`. Called within the runtime.
    pub(super) fn new(socket: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        Ok(Self {
            socket: UnixStream::from_std(socket.into())?,
            buffer: [0; 4 * SIZE],
            filled: 0,
            read: 0,
        })
    }

    /// Where it is asked.
    pub(super) fn socket(&self) -> &UnixStream {
        &self.socket
    }

    /// The next message; `None` when the shim is gone, `ConnectionReset` when it has gone without reading what it was
    /// asked. Cancel safe.
    pub(super) async fn next(&mut self) -> io::Result<Option<Report>> {
        if self.read == self.filled {
            self.socket.readable().await?;
            match self.socket.try_read(&mut self.buffer) {
                Ok(0) => return Ok(None),
                Ok(count) => (self.read, self.filled) = (0, count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Box::pin(self.next()).await;
                }
                Err(error) => return Err(error),
            }
        }
        let mut message = [0; SIZE];
        message.copy_from_slice(&self.buffer[self.read..self.read + SIZE]);
        self.read += SIZE;
        Report::decode(message)
            .map(Some)
            .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use rustix::process::Pid;

    use super::{Failure, Report, Reports, Stage};

    fn pid(number: i32) -> Pid {
        Pid::from_raw(number).unwrap()
    }

    #[tokio::test]
    async fn messages_arrive_one_by_one_and_then_the_end() {
        let sent = [
            Report::Shim(pid(7)),
            Report::Started(pid(8)),
            Report::RootExited(0x0700),
            Report::Empty { cpu_ms: u64::MAX },
            Report::Failed(Failure {
                stage: Stage::Exec,
                errno: 2,
            }),
        ];
        let (reader, writer) = UnixStream::pair().unwrap();
        let [first, second, rest @ ..] = sent;
        Report::send(&writer, [first, second]);
        Report::send(&writer, rest);
        drop(writer);
        let mut reports = Reports::new(reader.into()).unwrap();
        for expected in sent {
            assert_eq!(reports.next().await.unwrap(), Some(expected));
        }
        assert_eq!(reports.next().await.unwrap(), None);
    }

    #[test]
    fn an_unknown_message_is_refused() {
        assert_eq!(Report::decode([0xff; 16]), None);
        assert_eq!(Report::decode([0; 16]), None, "no process has the number 0");
    }
}
