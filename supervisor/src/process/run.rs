//! One run of a process: follows what its shim tells, and what becomes of its tree if the shim is killed.

use std::time::Instant;

use rustix::process::{Pid, WaitStatus};
use sandbox_protocol::signal::Signal;
use tokio::sync::watch;

use super::cgroup::Group;
use super::procfs::Stat;
use super::report::{Report, Reports};
use super::spawn::{Keeper, Spawner, Started};
use super::state::Ended;
use super::tree::{Progress, RootEnd, Tree};
use crate::logs;

/// Follows `started` until its tree is gone, in a task that ends by itself then.
pub(super) fn follow(started: Started, spawner: &Spawner) -> Tree {
    let Started {
        keeper,
        shim,
        root,
        since,
        reports,
        group,
    } = started;
    let (progress, receiver) = watch::channel(Progress::default());
    let tree = Tree::new(shim, root, group, spawner.clone(), receiver);
    let run = Run {
        tree: tree.clone(),
        shim,
        keeper,
        spawner: spawner.clone(),
        since,
        progress,
    };
    tokio::spawn(run.follow(reports));
    tree
}

struct Run {
    tree: Tree,
    shim: Pid,
    keeper: Keeper,
    spawner: Spawner,
    since: Instant,
    progress: watch::Sender<Progress>,
}

impl Run {
    async fn follow(self, mut reports: Reports) {
        loop {
            match reports.next().await {
                Ok(Some(Report::RootExited(status))) => self.root_ended(Some(status)),
                Ok(Some(Report::Empty { cpu_ms })) => {
                    self.tree.part();
                    match self.keeper {
                        Keeper::Own => self.spawner.shims().disown(self.shim),
                        Keeper::Shared => self.spawner.shims().rest(self.shim, reports),
                    }
                    return self.emptied(Some(cpu_ms)).await;
                }
                Ok(None) => return self.adopt().await,
                unexpected => {
                    eprintln!("supervisor: a shim told {unexpected:?}; its tree is adopted");
                    return self.adopt().await;
                }
            }
        }
    }

    /// Publishes the end of the root, with what its control group knows of it: that may be gone at once.
    fn root_ended(&self, status: Option<i32>) {
        let group = self.tree.group();
        let ended = match Ended::from_status(status) {
            Ended::Signal(Signal::KILL) if group.is_some_and(Group::ran_out_of_memory) => {
                Ended::OutOfMemory
            }
            ended => ended,
        };
        let end = RootEnd {
            ended,
            excess: group.and_then(Group::excess),
            at: logs::now(),
        };
        self.progress
            .send_modify(|progress| progress.root = Some(end));
    }

    /// Sees to it that nobody is left in its control group either, and publishes that the tree is gone.
    async fn emptied(&self, cpu_ms: Option<u64>) {
        let mut used = cpu_ms;
        if let Some(group) = self.tree.group() {
            used = group.cpu_ms().or(cpu_ms);
            group.vacate().await;
        }
        self.progress.send_modify(|progress| {
            progress.empty = true;
            progress.cpu_ms = used;
        });
    }

    /// Takes over from a shim that was killed: the root runs on as our child, and when it ends, the rest of
    /// its tree is killed, for nothing keeps it together any more.
    async fn adopt(self) {
        let (shim, root) = (self.shim, self.tree.root());
        // The kernel gives its children to us before it lets us reap it. A sender that is dropped means that
        // the runtime ends.
        if self.spawner.reaper().claim(shim, self.since).await.is_err() {
            return;
        }
        self.spawner.shims().own(root);
        self.spawner.shims().disown(shim);
        self.progress.send_modify(|progress| progress.lost = true);
        self.tree.part();
        if self.tree.progress().root.is_none() {
            let status = self.orphaned_root(root).await;
            self.root_ended(status);
        }
        self.spawner.shims().disown(root);
        self.clear().await;
        self.emptied(None).await;
    }

    /// The status of a root whose shim is gone; `None` if that shim reaped it and could not tell any more.
    async fn orphaned_root(&self, root: Pid) -> Option<i32> {
        let reaper = self.spawner.reaper();
        let mut status = reaper.claim(root, self.since);
        let ours = rustix::process::getpid().as_raw_nonzero().get();
        let lives = Stat::of(root).is_ok_and(|stat| stat.parent == ours);
        if !lives {
            // Whoever is gone from /proc was reaped by us and is entered by then, or was not ours.
            reaper.settle();
            return status.try_recv().ok().map(WaitStatus::as_raw);
        }
        status.await.ok().map(WaitStatus::as_raw)
    }

    /// Kills until nobody is left. One whom the kernel does not let us kill is waited for.
    async fn clear(&self) {
        loop {
            let reaped = self.spawner.reaper().next();
            if self.tree.blocking(Tree::kill_all).await {
                return;
            }
            reaped.await;
        }
    }
}
