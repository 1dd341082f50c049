//! The control group of one run: whoever is born in the tree is born into it.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::process::Pid;
use sandbox_protocol::process::Limits;

use super::events::Events;
use super::hierarchy::remove_tree;
use super::{Abilities, set};
use crate::process::state::Cause;

/// How long everyone may take to stand still, and to die. One who hangs in the kernel does neither.
const PATIENCE: Duration = Duration::from_secs(1);

/// A group. It is there until [`Group::vacate`].
#[derive(Debug)]
pub(in crate::process) struct Group {
    folder: PathBuf,
    abilities: Abilities,
    /// What it holds.
    held: Limits,
}

impl Group {
    /// Makes the group of `folder`, which holds `limits` as far as it is able to.
    pub(super) fn make(folder: PathBuf, abilities: Abilities, limits: &Limits) -> io::Result<Self> {
        fs::create_dir(&folder)?;
        let held = Limits {
            memory_bytes: if abilities.memory {
                limits.memory_bytes
            } else {
                0
            },
            processes: if abilities.processes {
                limits.processes
            } else {
                0
            },
            ..*limits
        };
        let group = Self {
            folder,
            abilities,
            held,
        };
        if let Err(error) = group.set_limits() {
            remove_tree(&group.folder)?;
            return Err(error);
        }
        Ok(group)
    }

    fn set_limits(&self) -> io::Result<()> {
        let Limits {
            memory_bytes,
            processes,
            ..
        } = self.held;
        if processes > 0 {
            set(&self.folder, "pids.max", &processes.to_string())?;
        }
        if memory_bytes > 0 {
            set(&self.folder, "memory.max", &memory_bytes.to_string())?;
            // A tree that lost one of its own to this is of no use; and it is told as one end.
            set(&self.folder, "memory.oom.group", "1")?;
            // Else it would be slow before it is over. There is no such file where nothing can be swapped.
            match set(&self.folder, "memory.swap.max", "0") {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                set => set?,
            }
        }
        Ok(())
    }

    /// What a child is started with, to be born into it.
    pub(in crate::process) fn entrance(&self) -> io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(rustix::fs::open(&self.folder, flags, Mode::empty())?)
    }

    /// Those of `limits` that it does not hold.
    pub(in crate::process) fn unheld(&self, limits: Limits) -> Limits {
        Limits {
            memory_bytes: limits.memory_bytes * u64::from(self.held.memory_bytes == 0),
            processes: limits.processes * u64::from(self.held.processes == 0),
            ..limits
        }
    }

    /// Whether a limit that it holds was reached.
    pub(in crate::process) fn excess(&self) -> Option<Cause> {
        if self.held.memory_bytes > 0 && self.counted("memory.events", "oom_kill") {
            return Some(Cause::Oom);
        }
        let refused = self.held.processes > 0 && self.counted("pids.events", "max");
        refused.then_some(Cause::ProcessLimit)
    }

    /// Resolves when a limit that it holds is reached; never where it holds none. Cancel safe.
    pub(in crate::process) async fn exceeded(&self) -> Cause {
        let memory = self.reached(self.held.memory_bytes, "memory.events", "oom_kill");
        let processes = self.reached(self.held.processes, "pids.events", "max");
        tokio::select! {
            () = memory => Cause::Oom,
            () = processes => Cause::ProcessLimit,
        }
    }

    async fn reached(&self, limit: u64, file: &str, name: &str) {
        if limit > 0 {
            let raised = match Events::open(&self.folder, file) {
                Ok(events) => events.raised(name).await,
                Err(error) => Err(error),
            };
            match raised {
                Ok(()) => return,
                // With the tree its group is gone.
                Err(_) if !self.folder.exists() => {}
                Err(error) => eprintln!("supervisor: {file} is not watched: {error}"),
            }
        }
        std::future::pending::<()>().await;
    }

    /// Whether the kernel killed one of it for want of memory, be it the group's own or all there was.
    pub(in crate::process) fn ran_out_of_memory(&self) -> bool {
        self.abilities.memory && self.counted("memory.events", "oom_kill")
    }

    fn counted(&self, file: &str, name: &str) -> bool {
        let count = Events::open(&self.folder, file).and_then(|events| events.count(name));
        count.is_ok_and(|count| count > 0)
    }

    /// Time on a processor of everyone who is or was in it, in milliseconds; `None` when it is gone.
    pub(in crate::process) fn cpu_ms(&self) -> Option<u64> {
        let usage = Events::open(&self.folder, "cpu.stat").ok()?;
        Some(usage.count("usage_usec").ok()? / 1000)
    }

    /// Everyone in it and in the groups that they may have made in it.
    pub(in crate::process) fn members(&self) -> Vec<Pid> {
        let mut members = Vec::new();
        let mut folders = vec![self.folder.clone()];
        while let Some(folder) = folders.pop() {
            let list = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
            let pids = list.lines().filter_map(|pid| pid.parse().ok());
            members.extend(pids.filter_map(Pid::from_raw));
            folders.extend(below(&folder));
        }
        members
    }

    /// Kills everyone in one step, those included whom they fork meanwhile. `look` is shown them before. Where
    /// this cannot be had, nothing is done.
    pub(in crate::process) fn kill(&self, look: impl FnOnce(&[Pid])) {
        if !self.abilities.kill {
            return;
        }
        let members = self.members();
        if self.members() == members {
            look(&members);
            self.tell("killed", set(&self.folder, "cgroup.kill", "1"));
            return;
        }
        // They are born or end right now, so they are to stand still while they are counted; and so many may be
        // dying then that the kernel is asked when it is over.
        let killed = self.still(|| {
            look(&self.members());
            set(&self.folder, "cgroup.kill", "1")
        });
        let dead = || self.events()?.wait("populated", 0, PATIENCE);
        self.tell("killed", killed.and_then(|()| dead()));
    }

    /// Calls `act` while everyone in it stands still: nobody is born or ends by himself then. One who hangs in
    /// the kernel is not waited for long. The kernel takes up to 10 ms to tell that they stand.
    pub(in crate::process) fn still<T>(&self, act: impl FnOnce() -> T) -> T {
        let stopped = set(&self.folder, "cgroup.freeze", "1");
        let stand = || self.events()?.wait("frozen", 1, PATIENCE);
        self.tell("stopped", stopped.and_then(|()| stand()));
        let done = act();
        self.tell("resumed", set(&self.folder, "cgroup.freeze", "0"));
        done
    }

    /// Tells of a failure, unless it is that the group is gone with its tree.
    fn tell<T>(&self, done: &str, result: io::Result<T>) {
        if let Err(error) = result
            && self.folder.exists()
        {
            eprintln!("supervisor: a control group is not {done}: {error}");
        }
    }

    fn events(&self) -> io::Result<Events> {
        Events::open(&self.folder, "cgroup.events")
    }

    /// Removes it; whether it could be, which proves that nobody is in it.
    pub(in crate::process) fn remove(&self) -> bool {
        remove_tree(&self.folder).is_ok()
    }

    /// Removes it when everyone in it is gone, after killing them: a tree whose group this is has ended.
    pub(in crate::process) async fn vacate(&self) {
        if self.remove() {
            return;
        }
        self.kill(|_| {});
        let emptied = self.emptied().await;
        if let Err(error) = emptied.and_then(|()| remove_tree(&self.folder)) {
            eprintln!("supervisor: {} stays: {error}", self.folder.display());
        }
    }

    async fn emptied(&self) -> io::Result<()> {
        self.events()?.cleared("populated").await
    }
}

/// The groups in that of `folder`.
fn below(folder: &Path) -> Vec<PathBuf> {
    // A folder has a link from each one in it, and two of its own.
    if !fs::metadata(folder).is_ok_and(|folder| folder.nlink() > 2) {
        return Vec::new();
    }
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}
