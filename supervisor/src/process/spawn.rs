//! From a launch to an executing process, by way of a shim: one that rests, or a new one from the zygote. Nothing
//! here forks.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

use rustix::fs::{MemfdFlags, Mode, OFlags};
use rustix::process::Pid;

use super::cgroup::{Abilities, Group, Groups};
use super::launch::Launch;
use super::report::{Report, Reports, SpawnError};
use super::shims::Shims;
use super::zygote::Zygote;
use crate::init::Reaper;

/// Starts processes. A cheap clone.
#[derive(Clone, Debug)]
pub struct Spawner(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    shims: Shims,
    /// What a process reads that reads nothing.
    null: OwnedFd,
    /// Who learns how those ended whom we reap.
    reaper: Reaper,
    /// Where each tree gets a control group.
    groups: Option<Groups>,
}

/// Whose shim a process gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keeper {
    /// One of its own, which ends with its tree: what that used is what its shim has reaped.
    Own,
    /// One that others had before it and will have after it: to make and to reap a new one would be a seventh of
    /// all that a short command costs.
    Shared,
}

/// A process that executes.
#[derive(Debug)]
pub(super) struct Started {
    /// Whether its shim is to rest afterwards.
    pub(super) keeper: Keeper,
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

impl Spawner {
    /// Starts processes through `zygote`, each in one of `groups`. Called within the runtime.
    pub fn new(zygote: Zygote, reaper: Reaper, groups: Option<Groups>) -> io::Result<Self> {
        let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self(Arc::new(Inner {
            shims: Shims::new(zygote)?,
            null,
            reaper,
            groups,
        })))
    }

    /// Starts `launch` on these three descriptors and waits until it executes. Not cancel safe: a start that is
    /// not waited for would have no owner, so callers run this in a task of its own.
    pub(super) async fn spawn(
        &self,
        launch: &Launch,
        descriptors: [BorrowedFd<'_>; 3],
        keeper: Keeper,
    ) -> Result<Started, SpawnError> {
        let group = self.group(launch);
        let started = self.spawn_in(group.as_ref(), launch, descriptors, keeper);
        match (started.await, group) {
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
        keeper: Keeper,
    ) -> Result<Started, SpawnError> {
        let since = Instant::now();
        let entrance = group.map(Group::entrance).transpose()?;
        let file = rustix::fs::memfd_create("launch", MemfdFlags::CLOEXEC)?;
        write_all(&file, &launch.encode())?;
        let mut request = vec![file.as_fd(), stdin, stdout, stderr];
        request.extend(entrance.as_ref().map(AsFd::as_fd));
        let shims = self.shims();
        let rested = match keeper {
            Keeper::Own => None,
            Keeper::Shared => shims.ask_one_at_rest(&request).await?,
        };
        let (shim, mut reports) = match rested {
            Some(rested) => rested,
            None => shims.ask_a_new_one(&request).await?,
        };
        drop((file, entrance));
        let refused = match reports.next().await {
            Ok(Some(Report::Started(root))) => {
                return Ok(Started {
                    keeper,
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
        shims.disown(shim);
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

    /// The shims, and who else is our child.
    pub(super) fn shims(&self) -> &Shims {
        &self.0.shims
    }

    /// How those ended whom we reap.
    pub(super) fn reaper(&self) -> &Reaper {
        &self.0.reaper
    }
}

fn write_all(file: &OwnedFd, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let count = rustix::io::write(file, bytes)?;
        bytes = &bytes[count..];
    }
    Ok(())
}
