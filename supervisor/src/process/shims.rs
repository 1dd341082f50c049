//! The shims there are: made by the zygote, owned while they live, and at rest between two trees.

use std::collections::HashSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::net::Shutdown;
use rustix::process::Pid;
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::RwLock;

use super::report::{Report, Reports, SpawnError};
use super::zygote::Zygote;
use super::{fds, procfs};

/// How many shims rest at most. Each has some ten KiB to itself, and two hundred after large requests.
const RESTING: usize = 16;

/// Our children: the zygote, the shims, and whom a killed shim left.
#[derive(Debug)]
pub(super) struct Shims {
    /// Where the zygote is asked for shims.
    socket: UnixStream,
    /// The zygote itself: a child of ours that is nobody's orphan.
    zygote: Pid,
    /// Which of our children are not orphans.
    owned: Mutex<HashSet<Pid>>,
    /// Those whose last tree is gone, and which wait for another.
    resting: Mutex<Vec<(Pid, Reports)>>,
    /// Read while a shim may exist that is not in `owned` yet; written by whoever looks for orphans.
    arriving: RwLock<()>,
}

impl Shims {
    /// Those of `zygote`. Called within the runtime.
    pub(super) fn new(zygote: Zygote) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&zygote.socket, true)?;
        Ok(Self {
            zygote: zygote.pid(),
            socket: UnixStream::from_std(zygote.socket.into())?,
            owned: Mutex::default(),
            resting: Mutex::default(),
            arriving: RwLock::default(),
        })
    }

    /// Asks one that rests for what `request` describes; the first of its reports has been read. `None` if none
    /// rests.
    pub(super) async fn ask_one_at_rest(
        &self,
        request: &[BorrowedFd<'_>],
    ) -> Result<Option<(Pid, Reports)>, SpawnError> {
        loop {
            let Some((shim, mut reports)) = self.resting().pop() else {
                return Ok(None);
            };
            // One that was killed meanwhile takes no request, or goes without having read it.
            if ask(reports.socket(), request).await.is_ok() {
                match reports.next().await {
                    Ok(Some(Report::Shim(_))) => return Ok(Some((shim, reports))),
                    Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
                    // It may have begun, so what becomes of that is told and not tried anew.
                    _ => {
                        self.disown(shim);
                        return Err(SpawnError::Vanished);
                    }
                }
            }
            self.disown(shim);
        }
    }

    /// Asks a new one; the first of its reports has been read.
    pub(super) async fn ask_a_new_one(
        &self,
        request: &[BorrowedFd<'_>],
    ) -> Result<(Pid, Reports), SpawnError> {
        let (ours, its) = fds::pair()?;
        let mut reports = Reports::new(ours)?;
        let _arriving = self.arriving.read().await;
        ask(&self.socket, &[its.as_fd()]).await?;
        drop(its);
        let asked = ask(reports.socket(), request).await;
        if asked.is_err() {
            // It would wait for a request for ever, and we for what it says.
            rustix::net::shutdown(reports.socket(), Shutdown::Write)?;
        }
        match (reports.next().await?, asked) {
            (Some(Report::Shim(shim)), _) => {
                // One that rested under this number is gone, or the number would not be free.
                self.resting().retain(|(other, _)| *other != shim);
                self.own(shim);
                Ok((shim, reports))
            }
            (Some(Report::Failed(failure)), _) => Err(SpawnError::Refused(failure)),
            (_, Ok(())) => Err(SpawnError::Vanished),
            (_, Err(error)) => Err(SpawnError::Io(error)),
        }
    }

    /// Lets `shim`, whose tree is gone and which nobody looks at any more, wait for another. Where enough rest
    /// it ends.
    pub(super) fn rest(&self, shim: Pid, reports: Reports) {
        let mut resting = self.resting();
        if resting.len() < RESTING {
            resting.push((shim, reports));
        } else {
            drop(resting);
            self.disown(shim);
        }
    }

    /// Counts `pid`, a child of ours, among those that are nobody's orphans.
    pub(super) fn own(&self, pid: Pid) {
        self.owned().insert(pid);
    }

    /// Takes that back: a shim that ends by itself, or a root that has ended.
    pub(super) fn disown(&self, pid: Pid) {
        self.owned().remove(&pid);
    }

    /// Our children that belong to nobody: what a killed shim left. `root`, itself owned, is looked at as one
    /// of them. A shim that is just arriving may be among them, so whoever means them harm calls
    /// [`Shims::nobody_arrives`] first.
    pub(super) fn orphans(&self, root: Pid) -> Vec<Pid> {
        let children = procfs::children(rustix::process::getpid());
        let owned = self.owned();
        let orphan = |pid: &Pid| *pid != self.zygote && !owned.contains(pid);
        children
            .into_iter()
            .filter(|pid| *pid == root || orphan(pid))
            .collect()
    }

    /// Waits until no shim is arriving, and keeps others from it while the guard lives. Blocks.
    pub(super) fn nobody_arrives(&self) -> impl Drop + '_ {
        self.arriving.blocking_write()
    }

    fn owned(&self) -> MutexGuard<'_, HashSet<Pid>> {
        self.owned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn resting(&self) -> MutexGuard<'_, Vec<(Pid, Reports)>> {
        self.resting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn ask(socket: &UnixStream, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let send = || Ok(fds::send(socket, descriptors)?);
    socket.async_io(Interest::WRITABLE, send).await
}
