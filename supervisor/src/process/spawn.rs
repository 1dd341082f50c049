//! From a launch to an executing process, by way of the zygote. Nothing here forks.

use std::collections::HashSet;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use rustix::fs::{MemfdFlags, Mode, OFlags};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use rustix::pipe::PipeFlags;
use rustix::process::Pid;
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::RwLock;

use super::cgroup::{Abilities, Group, Groups};
use super::launch::Launch;
use super::procfs;
use super::report::{Failure, Report, Reports};
use super::zygote::{DESCRIPTORS, Zygote};
use crate::init::Reaper;

/// Starts processes. A cheap clone.
#[derive(Clone, Debug)]
pub struct Spawner(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Where requests to the zygote go.
    socket: UnixStream,
    /// The zygote itself: a child of ours that is nobody's orphan.
    zygote: Pid,
    /// What a process reads that reads nothing.
    null: OwnedFd,
    /// Who learns how those ended whom we reap.
    reaper: Reaper,
    /// Which of our children are not orphans.
    owned: Mutex<HashSet<Pid>>,
    /// Where each tree gets a control group.
    groups: Option<Groups>,
    /// Read while a shim may exist that is not in `owned` yet; written by whoever looks for orphans.
    arriving: RwLock<()>,
}

/// A process that executes.
#[derive(Debug)]
pub(super) struct Started {
    /// Its shim.
    pub(super) shim: Pid,
    /// The process.
    pub(super) root: Pid,
    /// A moment before it was made.
    pub(super) since: Instant,
    /// What the shim goes on to tell.
    pub(super) reports: Reports,
    /// Its control group, if it has one.
    pub(super) group: Option<Group>,
}

/// Why a process does not execute. Nothing is left of it.
#[derive(Debug)]
pub enum SpawnError {
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

impl Spawner {
    /// Starts processes through `zygote`, each in one of `groups`. Called within the runtime.
    pub fn new(zygote: Zygote, reaper: Reaper, groups: Option<Groups>) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&zygote.socket, true)?;
        let socket = std::os::unix::net::UnixStream::from(zygote.socket);
        let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self(Arc::new(Inner {
            socket: UnixStream::from_std(socket)?,
            zygote: zygote.pid,
            null,
            reaper,
            owned: Mutex::default(),
            groups,
            arriving: RwLock::default(),
        })))
    }

    /// Starts `launch` on these three descriptors and waits until it executes. Not cancel safe: a start that is
    /// not waited for would have no owner, so callers run this in a task of its own.
    pub(super) async fn spawn(
        &self,
        launch: &Launch,
        descriptors: [BorrowedFd<'_>; 3],
    ) -> Result<Started, SpawnError> {
        let group = self.group(launch);
        let started = self.spawn_in(group.as_ref(), launch, descriptors).await;
        match (started, group) {
            (Ok(started), group) => Ok(Started { group, ..started }),
            (Err(error), Some(group)) => {
                // By its own account nothing is left; if its shim was killed, somebody may be.
                group.vacate().await;
                Err(error)
            }
            (Err(error), None) => Err(error),
        }
    }

    /// A control group for `launch`. Without one its limits are watched.
    fn group(&self, launch: &Launch) -> Option<Group> {
        match self.0.groups.as_ref()?.group(&launch.limits) {
            Ok(group) => Some(group),
            Err(error) => {
                eprintln!("supervisor: a process has no control group: {error}");
                None
            }
        }
    }

    async fn spawn_in(
        &self,
        group: Option<&Group>,
        launch: &Launch,
        [stdin, stdout, stderr]: [BorrowedFd<'_>; 3],
    ) -> Result<Started, SpawnError> {
        let since = Instant::now();
        let entrance = group.map(Group::entrance).transpose()?;
        let file = rustix::fs::memfd_create("launch", MemfdFlags::CLOEXEC)?;
        write_all(&file, &launch.encode())?;
        let (reader, writer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        let mut reports = Reports::new(reader)?;
        let arriving = self.0.arriving.read().await;
        let mut request = vec![file.as_fd(), stdin, stdout, stderr, writer.as_fd()];
        request.extend(entrance.as_ref().map(AsFd::as_fd));
        self.send(&request).await?;
        drop((file, writer, entrance));
        let shim = match reports.next().await? {
            Some(Report::Shim(shim)) => shim,
            Some(Report::Failed(failure)) => return Err(SpawnError::Refused(failure)),
            _ => return Err(SpawnError::Vanished),
        };
        self.owned().insert(shim);
        drop(arriving);
        let refused = match reports.next().await {
            Ok(Some(Report::Started(root))) => {
                return Ok(Started {
                    shim,
                    root,
                    since,
                    reports,
                    group: None,
                });
            }
            Ok(Some(Report::Failed(failure))) => SpawnError::Refused(failure),
            Ok(_) => SpawnError::Vanished,
            Err(error) => SpawnError::Io(error),
        };
        self.disown(shim);
        Err(refused)
    }

    /// What the control groups here can do; `None` where there are none.
    #[must_use]
    pub fn abilities(&self) -> Option<Abilities> {
        self.0.groups.as_ref().map(Groups::abilities)
    }

    /// `/dev/null`.
    pub(super) fn null(&self) -> BorrowedFd<'_> {
        self.0.null.as_fd()
    }

    /// How those ended whom we reap.
    pub(super) fn reaper(&self) -> &Reaper {
        &self.0.reaper
    }

    /// Counts `pid`, a child of ours, among those that are nobody's orphans.
    pub(super) fn own(&self, pid: Pid) {
        self.owned().insert(pid);
    }

    /// Takes back [`Spawner::own`], and what a spawn did for its shim.
    pub(super) fn disown(&self, pid: Pid) {
        self.owned().remove(&pid);
    }

    /// Our children that belong to nobody: what a killed shim left. `root`, itself owned, is looked at as one
    /// of them. A shim that is just arriving may be among them, so whoever means them harm calls
    /// [`Spawner::nobody_arrives`] first.
    pub(super) fn orphans(&self, root: Pid) -> Vec<Pid> {
        let children = procfs::children(rustix::process::getpid());
        let owned = self.owned();
        let orphan = |pid: &Pid| *pid != self.0.zygote && !owned.contains(pid);
        children
            .into_iter()
            .filter(|pid| *pid == root || orphan(pid))
            .collect()
    }

    /// Waits until no shim is arriving, and keeps others from it while the guard lives. Blocks.
    pub(super) fn nobody_arrives(&self) -> impl Drop + '_ {
        self.0.arriving.blocking_write()
    }

    fn owned(&self) -> MutexGuard<'_, HashSet<Pid>> {
        self.0.owned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn send(&self, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let socket = &self.0.socket;
        socket
            .async_io(Interest::WRITABLE, || {
                let mut space =
                    [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
                let mut control = SendAncillaryBuffer::new(&mut space);
                if !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
                    return Err(io::Error::from(io::ErrorKind::InvalidInput));
                }
                let flags = SendFlags::NOSIGNAL;
                rustix::net::sendmsg(socket, &[IoSlice::new(&[0])], &mut control, flags)?;
                Ok(())
            })
            .await
    }
}

fn write_all(file: &OwnedFd, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let count = rustix::io::write(file, bytes)?;
        bytes = &bytes[count..];
    }
    Ok(())
}
