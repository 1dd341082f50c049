//! A tree: a process and everything that descends from it.
//!
//! Membership is parentage, kept by the kernel: whatever the process spawns stays below its shim, and that the
//! shim has no child left is the proof that the tree is gone. Where the tree has a control group, whoever is in
//! that belongs to it too, and the group is empty as well by then.

use std::future::Future;
use std::sync::{Arc, PoisonError, RwLock};

use rustix::process::Pid;
use sandbox_protocol::time::Timestamp;
use tokio::sync::watch;

use super::cgroup::Group;
use super::procfs::{self, Stat};
use super::spawn::Spawner;
use super::state::{Cause, Ended};

/// A tree. A cheap clone; it outlives what it names.
#[derive(Clone, Debug)]
pub struct Tree(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Its shim, until they part: then the number may be another's, or the shim another tree's.
    shim: RwLock<Option<Pid>>,
    root: Pid,
    group: Option<Group>,
    spawner: Spawner,
    progress: watch::Receiver<Progress>,
}

/// How far a tree has come.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Progress {
    /// The root's end, if it has ended.
    pub(super) root: Option<RootEnd>,
    /// Nobody is left.
    pub(super) empty: bool,
    /// The shim was killed, and its tree came to us.
    pub(super) lost: bool,
    /// Processor time of the whole tree, in milliseconds, once it is empty and its shim could tell.
    pub(super) cpu_ms: Option<u64>,
}

/// How and when a root ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct RootEnd {
    /// How.
    pub(super) ended: Ended,
    /// The limit that its control group had seen reached by then.
    pub(super) excess: Option<Cause>,
    /// When we learned of it.
    pub(super) at: Timestamp,
}

impl Tree {
    pub(super) fn new(
        shim: Pid,
        root: Pid,
        group: Option<Group>,
        spawner: Spawner,
        progress: watch::Receiver<Progress>,
    ) -> Self {
        Self(Arc::new(Inner {
            shim: RwLock::new(Some(shim)),
            root,
            group,
            spawner,
            progress,
        }))
    }

    /// The root's number.
    pub(super) fn root(&self) -> Pid {
        self.0.root
    }

    /// What `look` sees of its shim, which stays its own meanwhile; `None` if it has none any more.
    pub(super) fn of_shim<T>(&self, look: impl FnOnce(Pid) -> T) -> Option<T> {
        let shim = self.0.shim.read().unwrap_or_else(PoisonError::into_inner);
        shim.map(look)
    }

    /// Parts it from its shim, as soon as nobody looks at that.
    pub(super) fn part(&self) {
        *self.0.shim.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Its control group, if it has one.
    pub(super) fn group(&self) -> Option<&Group> {
        self.0.group.as_ref()
    }

    /// How far it has come.
    pub(super) fn progress(&self) -> Progress {
        *self.0.progress.borrow()
    }

    /// Waits for the root's end. Cancel safe.
    pub(super) async fn root_end(&self) -> Option<RootEnd> {
        self.reached(|progress| progress.root.is_some()).await.root
    }

    /// Waits until nobody is left. Cancel safe.
    pub(super) async fn emptied(&self) {
        self.reached(|progress| progress.empty).await;
    }

    /// The progress, once it is `enough`; the last there was if the runtime ends before.
    fn reached(&self, enough: fn(&Progress) -> bool) -> impl Future<Output = Progress> + use<> {
        let mut progress = self.0.progress.clone();
        async move {
            let reached = progress.wait_for(enough).await.map(|progress| *progress);
            reached.unwrap_or_else(|_| *progress.borrow())
        }
    }

    /// Everyone alive in it, the root first if it lives. Blocks for the reading of `/proc`.
    pub(super) fn members(&self) -> Vec<(Pid, Stat)> {
        self.members_at(self.progress())
    }

    fn members_at(&self, progress: Progress) -> Vec<(Pid, Stat)> {
        if progress.empty {
            return Vec::new();
        }
        let heads = if progress.lost {
            self.0.spawner.shims().orphans(self.0.root)
        } else {
            self.of_shim(procfs::children).unwrap_or_default()
        };
        let mut members = procfs::family(heads);
        if let Some(group) = self.group() {
            let mut others = group.members();
            others.retain(|other| members.iter().all(|(pid, _)| pid != other));
            members.extend(procfs::living(&others));
        }
        members
    }

    /// The same, for whoever means them harm. Blocks while a process is starting, where the shim is gone.
    pub(super) fn targets(&self) -> Vec<(Pid, Stat)> {
        let progress = self.progress();
        let _guard = progress
            .lost
            .then(|| self.0.spawner.shims().nobody_arrives());
        self.members_at(progress)
    }

    /// How many live besides the root. Blocks for the reading of `/proc`.
    pub(super) fn descendants(&self) -> u32 {
        let others = self
            .members()
            .into_iter()
            .filter(|(pid, _)| *pid != self.0.root);
        u32::try_from(others.count()).unwrap_or(u32::MAX)
    }

    /// Runs `work` where it may block.
    pub(super) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> T {
        let tree = self.clone();
        let done = tokio::task::spawn_blocking(move || work(&tree)).await;
        done.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
    }
}
