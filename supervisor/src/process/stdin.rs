//! What a process reads: a pipe or terminal that callers write into, as fast as the process takes it.

use std::io;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use sandbox_protocol::error::{ErrorBody, ErrorCode};
use tokio::io::AsyncWriteExt;
use tokio::net::unix::pipe::Sender;
use tokio::sync::Mutex;

use crate::error::Error;

/// The writing end, of the current run; absent where the process reads nothing, or no more.
#[derive(Debug, Default)]
pub(super) struct Stdin(Mutex<Option<Sender>>);

impl Stdin {
    /// Takes the pipe of a run that begins, in place of the one before.
    pub(super) async fn open(&self, pipe: Option<OwnedFd>) -> io::Result<()> {
        if let Some(pipe) = &pipe {
            rustix::io::ioctl_fionbio(pipe, true)?;
        }
        // "Unchecked" because a terminal is no pipe; it is written the same way.
        let pipe = pipe.map(Sender::from_owned_fd_unchecked).transpose()?;
        *self.0.lock().await = pipe;
        Ok(())
    }

    /// Ends the input: the process reads to its end.
    pub(super) async fn close(&self) {
        self.0.lock().await.take();
    }

    /// Writes all of `bytes`, waiting as long as the pipe is full. `STDIN_CLOSED` where nobody reads.
    pub(super) async fn write(&self, bytes: &[u8]) -> Result<(), Error> {
        let mut pipe = self.0.lock().await;
        let sender = pipe.as_mut().ok_or_else(closed)?;
        match sender.write_all(bytes).await {
            Ok(()) => Ok(()),
            Err(error) if is_end(&error) => {
                pipe.take();
                Err(closed())
            }
            Err(error) => Err(Error::internal("writing to a process")(error)),
        }
    }

    /// `STDIN_CLOSED` where nobody reads.
    pub(super) async fn check(&self) -> Result<(), Error> {
        let pipe = self.0.lock().await;
        pipe.as_ref().map(|_| ()).ok_or_else(closed)
    }
}

/// Whether nobody reads any more: for a pipe EPIPE says so, for a terminal EIO.
fn is_end(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
        || error.raw_os_error() == Some(Errno::IO.raw_os_error())
}

fn closed() -> Error {
    ErrorBody::new(
        ErrorCode::StdinClosed,
        "the process reads no input, or no more of it",
    )
    .suggest("start it with \"stdin\": \"pipe\"")
    .into()
}
