//! A tree: a process and everything that descends from it, and how all of it is ended.
//!
//! Membership is parentage, kept by the kernel: whatever the process spawns stays below its shim. A kill
//! signals everyone there by pidfd, after comparing start times; waits out the grace; then kills in passes.
//! That the shim has no child left is the proof that the tree is gone.

use std::collections::HashSet;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::Pid;
use sandbox_protocol::process::{Kill, Member};
use sandbox_protocol::signal::Signal;
use sandbox_protocol::time::Timestamp;
use tokio::sync::watch;

use super::procfs::{self, Stat};
use super::spawn::Spawner;
use super::target::{Target, await_deaths};

/// How long after `SIGKILL` a kill gives up and names the survivors.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a pass that found nobody waits for the shim to say so before it looks again: a list of children
/// that changes while it is read may leave one out.
const SECOND_LOOK: Duration = Duration::from_millis(20);

/// How often a signal looks for members that were born while it went round.
const ROUNDS: usize = 16;

/// How many deaths one pass waits for at once, which bounds the descriptors that it holds.
const WATCHED: usize = 256;

/// A tree. A cheap clone; it outlives what it names.
#[derive(Clone, Debug)]
pub struct Tree(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    shim: Pid,
    root: Pid,
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
    /// The wait status as the kernel gave it; `None` if nobody saw it.
    pub(super) status: Option<i32>,
    /// When we learned of it.
    pub(super) at: Timestamp,
}

/// Whom a kill met.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Killed {
    /// Who got the signal.
    pub signalled: Vec<Member>,
    /// Who was left after the grace and got `SIGKILL`.
    pub killed: Vec<Member>,
    /// Who lives on.
    pub survivors: Vec<Member>,
}

impl Tree {
    pub(super) fn new(
        shim: Pid,
        root: Pid,
        spawner: Spawner,
        progress: watch::Receiver<Progress>,
    ) -> Self {
        Self(Arc::new(Inner {
            shim,
            root,
            spawner,
            progress,
        }))
    }

    /// The root's number.
    pub(super) fn root(&self) -> Pid {
        self.0.root
    }

    /// The shim's number.
    pub(super) fn shim(&self) -> Pid {
        self.0.shim
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
        let progress = self.progress();
        if progress.empty {
            return Vec::new();
        }
        let heads = if progress.lost {
            self.0.spawner.orphans(self.0.root)
        } else {
            procfs::children(self.0.shim)
        };
        procfs::family(heads)
    }

    /// The same, for whoever means them harm. Blocks while a process is starting, where the shim is gone.
    fn targets(&self) -> Vec<(Pid, Stat)> {
        let lost = self.progress().lost;
        let _guard = lost.then(|| self.0.spawner.nobody_arrives());
        self.members()
    }

    /// How many live besides the root. Blocks for the reading of `/proc`.
    pub(super) fn descendants(&self) -> u32 {
        let others = self
            .members()
            .into_iter()
            .filter(|(pid, _)| *pid != self.0.root);
        u32::try_from(others.count()).unwrap_or(u32::MAX)
    }

    /// Ends it as `kill` says, or only delivers the signal where there is no grace. Goes on only while it is
    /// awaited.
    pub async fn kill(&self, kill: Kill) -> Killed {
        let mut met = Killed::default();
        let mut signalled;
        (met.signalled, signalled) = self.blocking(move |tree| tree.signal(kill)).await;
        let Some(grace_ms) = kill.grace_ms else {
            return met;
        };
        if self.emptied_within(Duration::from_millis(grace_ms)).await {
            return met;
        }
        if kill.signal != Signal::KILL {
            signalled = Signalled::default();
        }
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let killed;
            (killed, signalled) = self
                .blocking(move |tree| {
                    let killed = tree.kill_pass(&mut signalled, deadline);
                    (killed, signalled)
                })
                .await;
            met.killed.extend(killed);
            if self.emptied_within(SECOND_LOOK).await {
                return met;
            }
        }
        met.survivors = self
            .blocking(|tree| {
                let members = tree.targets().into_iter();
                members.map(|(pid, _)| procfs::member(pid)).collect()
            })
            .await;
        met
    }

    async fn emptied_within(&self, limit: Duration) -> bool {
        let empty = tokio::time::timeout(limit, self.emptied()).await.is_ok();
        empty && self.progress().empty
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

    /// Sends the signal to everyone, those included who are born while it goes round.
    fn signal(&self, kill: Kill) -> (Vec<Member>, Signalled) {
        let mut members = Vec::new();
        let mut signalled = Signalled::default();
        // A stopped process would hear it only when somebody continues it.
        let wake = kill.grace_ms.is_some()
            || matches!(kill.signal, Signal::TERM | Signal::INT | Signal::QUIT);
        for _ in 0..ROUNDS {
            let before = members.len();
            for (pid, stat) in self.targets() {
                if !signalled.0.insert((pid, stat.started)) {
                    continue;
                }
                let member = procfs::member(pid);
                if let Some(target) = Target::open(pid, &stat)
                    && target.send(kill.signal)
                {
                    members.push(member);
                    if wake {
                        target.send(Signal::CONT);
                    }
                }
            }
            if members.len() == before {
                break;
            }
        }
        (members, signalled)
    }

    /// Kills everyone; whether nobody is left. Blocks until they are dead, but not for ever.
    pub(super) fn kill_all(&self) -> bool {
        self.kill_pass(&mut Signalled::default(), Instant::now() + PATIENCE);
        self.targets().is_empty()
    }

    /// Kills everyone whom it finds, until it finds nobody.
    fn kill_pass(&self, met: &mut Signalled, deadline: Instant) -> Vec<Member> {
        let mut killed = Vec::new();
        loop {
            let members = self.targets();
            let mut dying = Vec::with_capacity(members.len());
            let mut anyone_new = false;
            for (pid, stat) in members {
                let new = met.0.insert((pid, stat.started));
                anyone_new |= new;
                let member = new.then(|| procfs::member(pid));
                if let Some(target) = Target::open(pid, &stat)
                    && target.send(Signal::KILL)
                {
                    killed.extend(member);
                    dying.push(target);
                    dying.truncate(WATCHED);
                }
            }
            if dying.is_empty() || Instant::now() >= deadline {
                return killed;
            }
            // Whoever was born meanwhile must be met before it has children of its own, so there is time to
            // wait only when a whole look met nobody new.
            if !anyone_new {
                await_deaths(dying, deadline);
            }
        }
    }
}

/// Who got a signal already: number and start time.
#[derive(Debug, Default)]
struct Signalled(HashSet<(Pid, u64)>);
