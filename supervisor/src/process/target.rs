//! A process held so that a signal cannot reach another that got its number.

use std::os::fd::OwnedFd;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal as KernelSignal};
use sandbox_protocol::signal::Signal;

use super::procfs::Stat;

/// A process held by its pidfd, which never means another.
pub(super) struct Target(OwnedFd);

impl Target {
    /// Holds `pid` if it is still the one of which `stat` tells.
    pub(super) fn open(pid: Pid, stat: &Stat) -> Option<Self> {
        let target = rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok()?;
        let same = Stat::of(pid).is_ok_and(|now| now.started == stat.started);
        same.then_some(Self(target))
    }

    /// Whether the signal was delivered: it is not to one that ended before, nor where the kernel refuses.
    pub(super) fn send(&self, signal: Signal) -> bool {
        rustix::process::pidfd_send_signal(&self.0, kernel(signal)).is_ok()
    }
}

#[expect(
    unsafe_code,
    reason = "rustix names only the signals that libc leaves free"
)]
fn kernel(signal: Signal) -> KernelSignal {
    // SAFETY: the number is one of the kernel's. It is only ever sent to other processes, whose libc's own
    // use of it is their caller's business.
    unsafe { KernelSignal::from_raw_unchecked(signal.number()) }
}

/// Waits until all of `dying` are dead.
pub(super) fn await_deaths(mut dying: Vec<Target>, deadline: Instant) {
    while !dying.is_empty() {
        let mut deaths: Vec<_> = dying
            .iter()
            .map(|target| PollFd::new(&target.0, PollFlags::IN))
            .collect();
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).ok();
        match rustix::event::poll(&mut deaths, timeout.as_ref()) {
            Ok(0) => return,
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => {
                eprintln!("supervisor: cannot watch the dying: {error}");
                return;
            }
        }
        let dead: Vec<bool> = deaths.iter().map(|fd| !fd.revents().is_empty()).collect();
        let mut dead = dead.into_iter();
        dying.retain(|_| !dead.next().unwrap_or(true));
    }
}
