//! Reading what a process prints, as it prints it.

use std::cell::RefCell;
use std::future::pending;
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use sandbox_protocol::log::Stream;
use tokio::net::unix::pipe::Receiver;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};

use super::{Ledger, now, utf8};

/// How long the beginning of a character waits for its rest.
const HOLD: Duration = Duration::from_millis(50);

/// How much one read takes at most, in bytes.
const READ_BYTES: usize = 256 << 10;

/// How large a pipe is made, in bytes, so that a burst does not stop its writer.
const PIPE_BYTES: usize = 1 << 20;

/// After how many bytes other tasks of the thread get their turn.
const TURN_BYTES: usize = 1 << 20;

thread_local! {
    // A read never waits, so one buffer a thread serves every pipe.
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BYTES]);
}

/// The reading of one pipe or terminal into a ledger, by a task that ends at the end of file.
#[derive(Debug)]
pub struct Capture {
    task: JoinHandle<()>,
    enough: oneshot::Sender<oneshot::Sender<()>>,
}

impl Capture {
    /// Begins to read `fd`, the reading end of a pipe or the master of a terminal, as `stream`. An error if
    /// the kernel cannot tell when there is something to read.
    pub fn start(fd: OwnedFd, stream: Stream, ledger: Ledger) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&fd, true)?;
        // Refused for a terminal, and beyond what one user may have; the size is a matter of speed alone.
        let _ = rustix::pipe::fcntl_setpipe_size(&fd, PIPE_BYTES);
        let pump = Pump {
            // "Unchecked" because a terminal is no pipe; it is read the same way.
            pipe: Receiver::from_owned_fd_unchecked(fd)?,
            stream,
            ledger,
            held: Vec::with_capacity(3),
            held_until: None,
        };
        let (enough, told) = oneshot::channel();
        Ok(Self {
            task: tokio::spawn(pump.run(told)),
            enough,
        })
    }

    /// To be called when the process has ended: resolves at the end of file, or after `within`, when all that
    /// was in the pipe by then is in the ledger. A descendant may go on writing: that is read, so that it does
    /// not block, and counted, and dropped.
    pub async fn finish(mut self, within: Duration) {
        if timeout(within, &mut self.task).await.is_ok() {
            return;
        }
        let (done, drained) = oneshot::channel();
        // Both fail only if the task has come to its end meanwhile, which is what is waited for.
        if self.enough.send(done).is_ok() {
            let _ = drained.await;
        }
    }
}

/// What the task owns.
struct Pump {
    pipe: Receiver,
    stream: Stream,
    ledger: Ledger,
    /// The beginning of a character, up to three bytes.
    held: Vec<u8>,
    held_until: Option<Instant>,
}

impl Pump {
    async fn run(mut self, enough: oneshot::Receiver<oneshot::Sender<()>>) {
        // A capture that is dropped without a word is read to its end.
        let enough = async {
            match enough.await {
                Ok(done) => done,
                Err(_) => pending().await,
            }
        };
        let done = tokio::select! {
            () = self.keep_all() => return,
            done = enough => done,
        };
        self.keep_rest();
        // Nobody waits any more if the caller gave up.
        let _ = done.send(());
        self.drop_all().await;
    }

    /// Reads into the ledger until the end of file.
    async fn keep_all(&mut self) {
        let mut turn = 0;
        loop {
            self.ledger.0.room().await;
            if !self.readable().await {
                self.flush();
                continue;
            }
            match self.read(READ_BYTES, Receiver::try_read) {
                Ok(0) => return self.flush(),
                Ok(bytes) => turn += bytes,
                Err(error) if is_passing(&error) => {}
                Err(error) => return self.fail(&error),
            }
            if turn >= TURN_BYTES {
                turn = 0;
                tokio::task::yield_now().await;
            }
        }
    }

    /// Reads what is in the pipe now and no more, however fast somebody goes on writing.
    fn keep_rest(&mut self) {
        let mut owed = rustix::io::ioctl_fionread(&self.pipe).unwrap_or(0);
        while owed > 0 {
            let most = usize::try_from(owed).unwrap_or(READ_BYTES);
            match self.read(most, |pipe, buffer| Ok(rustix::io::read(pipe, buffer)?)) {
                Ok(bytes @ 1..) => owed = owed.saturating_sub(bytes as u64),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Ok(_) | Err(_) => break,
            }
        }
        self.flush();
    }

    /// Reads and counts until the end of file.
    async fn drop_all(&mut self) {
        while self.readable().await {
            let read = BUFFER.with_borrow_mut(|buffer| self.pipe.try_read(buffer));
            match read {
                Ok(0) => return,
                Ok(bytes) => self.ledger.drop_late(bytes as u64),
                Err(error) if is_passing(&error) => {}
                Err(error) => return self.fail(&error),
            }
        }
    }

    /// Resolves when there is something to read, or with `false` when a held beginning has waited enough.
    async fn readable(&mut self) -> bool {
        // The readiness that is told stays until a read finds nothing; an error of it is the read's too.
        let readable = async {
            let _ = self.pipe.readable().await;
        };
        match self.held_until {
            None => readable.await,
            Some(until) => return timeout_at(until, readable).await.is_ok(),
        }
        true
    }

    /// One read of at most `most` bytes by `read`, appended as far as it has whole characters.
    fn read(
        &mut self,
        most: usize,
        read: impl FnOnce(&Receiver, &mut [u8]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let held = self.held.len();
        BUFFER.with_borrow_mut(|buffer| {
            buffer[..held].copy_from_slice(&self.held);
            let end = READ_BYTES.min(held.saturating_add(most));
            let bytes = read(&self.pipe, &mut buffer[held..end])?;
            if bytes > 0 {
                self.keep(&buffer[..held + bytes]);
            }
            Ok(bytes)
        })
    }

    fn keep(&mut self, bytes: &[u8]) {
        let (whole, begun) = bytes.split_at(bytes.len() - utf8::incomplete(bytes));
        if !whole.is_empty() {
            self.ledger.append(self.stream, now(), whole);
        }
        self.held.clear();
        self.held.extend_from_slice(begun);
        self.held_until = (!begun.is_empty()).then(|| Instant::now() + HOLD);
    }

    /// Appends what was held.
    fn flush(&mut self) {
        if !self.held.is_empty() {
            self.ledger.append(self.stream, now(), &self.held);
            self.held.clear();
        }
        self.held_until = None;
    }

    /// The end of a terminal is EIO; anything else is told.
    fn fail(&mut self, error: &io::Error) {
        self.flush();
        if error.raw_os_error() != Some(Errno::IO.raw_os_error()) {
            let id = self.ledger.process_id();
            eprintln!("supervisor: the output of {id} cannot be read any more: {error}");
        }
    }
}

/// Whether the same read may succeed later.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
