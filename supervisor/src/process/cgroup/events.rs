//! A file of numbers that a control group keeps, of whose changes the kernel tells.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Longer than any of these files.
const BYTES: usize = 1024;

/// One such file. Each reading of it is that from which the next change is told.
#[derive(Debug)]
pub(super) struct Events(OwnedFd);

impl Events {
    /// Opens `file` of the group in `folder`.
    pub(super) fn open(folder: &Path, file: &str) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        Ok(Self(rustix::fs::open(
            folder.join(file),
            flags,
            Mode::empty(),
        )?))
    }

    /// The number after `name`; 0 where there is no such line.
    pub(super) fn count(&self, name: &str) -> io::Result<u64> {
        count(&self.0, name)
    }

    /// Waits until the number after `name` is not 0. Cancel safe.
    pub(super) async fn raised(self, name: &str) -> io::Result<()> {
        self.changed_until(name, |number| number > 0).await
    }

    /// Waits until the number after `name` is 0. Cancel safe.
    pub(super) async fn cleared(self, name: &str) -> io::Result<()> {
        self.changed_until(name, |number| number == 0).await
    }

    async fn changed_until(self, name: &str, enough: fn(u64) -> bool) -> io::Result<()> {
        #[expect(unsafe_code, reason = "the type's only way in")]
        // SAFETY: the file is owned, so it stays open and the same as long as it is registered.
        let file = unsafe { AsyncFd::register_with_interest(self.0, Interest::PRIORITY) }?;
        while !enough(count(file.get_ref(), name)?) {
            file.ready(Interest::PRIORITY).await?.clear_ready();
        }
        Ok(())
    }

    /// Blocks until the number after `name` is `wanted`, or for `limit`; whether it is.
    pub(super) fn wait(&self, name: &str, wanted: u64, limit: Duration) -> io::Result<bool> {
        let deadline = Instant::now() + limit;
        loop {
            if self.count(name)? == wanted {
                return Ok(true);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = Timespec::try_from(left).ok();
            let mut change = [PollFd::new(&self.0, PollFlags::PRI)];
            match rustix::event::poll(&mut change, timeout.as_ref()) {
                Ok(0) => return Ok(false),
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn count(file: &OwnedFd, name: &str) -> io::Result<u64> {
    let mut bytes = [0; BYTES];
    let length = rustix::io::pread(file, &mut bytes, 0)?;
    let text = String::from_utf8_lossy(&bytes[..length]);
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    Ok(line
        .and_then(|number| number.trim().parse().ok())
        .unwrap_or(0))
}
