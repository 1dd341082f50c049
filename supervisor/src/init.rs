//! The duties of PID 1: reaping whoever is left to us, keeping their statuses for those who ask, and room for
//! all descriptors.
//!
//! One loop reaps everything, so nobody else may wait for a child. What runs in a sandbox is the child of a
//! shim and is reaped there; what comes here are shims, and orphans of a shim that was killed.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use rustix::process::{Pid, Resource, Rlimit, WaitOptions, WaitStatus};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, oneshot};

/// How many statuses that nobody has asked for are kept.
const RECENT: usize = 1024;

/// Raises the number of descriptors that this process may have to the most that the kernel allows it: a stream
/// is one, and a process is several. What was forked before keeps the number it had, because a program that
/// closes every number up to its limit would take long with a high one.
pub fn raise_descriptor_limit() -> io::Result<()> {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    rustix::process::setrlimit(Resource::Nofile, raised)?;
    Ok(())
}

/// How many descriptors this process may have.
#[must_use]
pub fn descriptor_limit() -> u64 {
    let limit = rustix::process::getrlimit(Resource::Nofile).current;
    limit.unwrap_or(u64::MAX)
}

/// The statuses of the children that were reaped. A cheap clone.
#[derive(Clone, Debug, Default)]
pub struct Reaper(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    exits: Mutex<Exits>,
    /// Told after each time that somebody was reaped.
    reaped: Notify,
}

#[derive(Debug, Default)]
struct Exits {
    /// Who is waited for, and by whom.
    waiting: HashMap<Pid, oneshot::Sender<WaitStatus>>,
    /// What was reaped before anybody asked, newest last.
    recent: VecDeque<Reaped>,
}

#[derive(Clone, Copy, Debug)]
struct Reaped {
    pid: Pid,
    status: WaitStatus,
    at: Instant,
}

impl Reaper {
    /// Adopts every orphan below us from now on and reaps on each `SIGCHLD`. Called within the runtime, once.
    pub fn start() -> io::Result<Self> {
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
        let mut deaths = signal(SignalKind::child())?;
        let reaper = Self::default();
        let exits = reaper.clone();
        tokio::spawn(async move {
            // A child may have died before the signal had a listener.
            exits.reap();
            while deaths.recv().await.is_some() {
                exits.reap();
            }
        });
        Ok(reaper)
    }

    /// The status of `pid`, as soon as it is reaped. One who was reaped before `since` was another process
    /// of the same number.
    #[must_use]
    pub fn claim(&self, pid: Pid, since: Instant) -> oneshot::Receiver<WaitStatus> {
        let (sender, receiver) = oneshot::channel();
        let mut exits = self.lock();
        let known = exits
            .recent
            .iter()
            .rposition(|reaped| reaped.pid == pid && reaped.at >= since);
        match known.and_then(|index| exits.recent.remove(index)) {
            // The receiver is at hand, so this cannot fail.
            Some(reaped) => drop(sender.send(reaped.status)),
            None => drop(exits.waiting.insert(pid, sender)),
        }
        receiver
    }

    /// Waits until everyone who was gone before this call has been entered.
    pub fn settle(&self) {
        drop(self.lock());
    }

    /// Resolves when somebody is reaped after this call.
    pub fn next(&self) -> impl Future<Output = ()> {
        self.0.reaped.notified()
    }

    fn reap(&self) {
        // Held throughout, so that `settle` means what it says.
        let mut exits = self.lock();
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            let claimed = exits.waiting.remove(&pid);
            if claimed.is_some_and(|sender| sender.send(status).is_ok()) {
                continue;
            }
            if exits.recent.len() == RECENT {
                exits.recent.pop_front();
            }
            exits.recent.push_back(Reaped {
                pid,
                status,
                at: Instant::now(),
            });
        }
        drop(exits);
        self.0.reaped.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, Exits> {
        self.0.exits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
