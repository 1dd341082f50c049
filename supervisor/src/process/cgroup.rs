//! Control groups, where a hierarchy of version 2 is ours to write: one for each run.
//!
//! A tree is kept together by parentage, with or without them. Where there are groups, a kill is one step that
//! no fork outruns, limits are held by the kernel, and it tells of the memory that ran out. Each ability is
//! there or not by itself: a hierarchy without the memory controller still kills.
//!
//! ```text
//! our group ─┬─ supervisor   we, the zygote and the shims: a group that gives controllers has no members
//!            └─ processes ─┬─ 1   the tree of one run
//!                          └─ 2
//! ```

mod events;
mod group;
mod hierarchy;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sandbox_protocol::process::Limits;

use crate::config::Cgroup;

pub(super) use group::Group;
pub use hierarchy::Folder;

/// Where the groups of all runs are made. A cheap clone.
#[derive(Clone, Debug)]
pub struct Groups(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    folder: PathBuf,
    abilities: Abilities,
    /// How many groups there were.
    made: AtomicU64,
}

/// What groups can do here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abilities {
    /// Hold a limit of memory, and tell when memory ran out.
    pub memory: bool,
    /// Hold a limit of processes.
    pub processes: bool,
    /// Kill all members in one step.
    pub kill: bool,
}

impl Groups {
    /// Takes the place that is configured; `None` where there is none to be had. To be called before anything
    /// is forked: the zygote is to be where we are.
    #[must_use]
    pub fn claim(config: &Cgroup) -> Option<Self> {
        let folder = match config {
            Cgroup::Off => return None,
            Cgroup::Folder(folder) => folder.clone(),
            Cgroup::Own => match hierarchy::claim_own() {
                Ok(folder) => folder?,
                Err(error) => {
                    eprintln!("supervisor: there are no control groups here: {error}");
                    return None;
                }
            },
        };
        match Self::below(folder) {
            Ok(groups) => Some(groups),
            Err(error) => {
                eprintln!("supervisor: the control group cannot be used: {error}");
                None
            }
        }
    }

    /// Makes groups in `folder`, a group without members.
    fn below(folder: PathBuf) -> io::Result<Self> {
        let controllers = hierarchy::enable(&folder)?;
        let has = |controller: &str| {
            controllers
                .split_ascii_whitespace()
                .any(|c| c == controller)
        };
        let abilities = Abilities {
            memory: has("memory"),
            processes: has("pids"),
            kill: folder.join("cgroup.kill").exists(),
        };
        Ok(Self(Arc::new(Inner {
            folder,
            abilities,
            made: AtomicU64::new(0),
        })))
    }

    /// What they can do here.
    #[must_use]
    pub fn abilities(&self) -> Abilities {
        self.0.abilities
    }

    /// A new group that holds `limits` as far as it can.
    pub(super) fn group(&self, limits: &Limits) -> io::Result<Group> {
        let number = self.0.made.fetch_add(1, Ordering::Relaxed) + 1;
        let folder = self.0.folder.join(number.to_string());
        Group::make(folder, self.0.abilities, limits)
    }
}

/// Writes one of a group's settings. They take it in one write or refuse it.
fn set(folder: &Path, file: &str, value: &str) -> io::Result<()> {
    fs::write(folder.join(file), value)
        .map_err(|error| io::Error::new(error.kind(), format!("{file}: {error}")))
}
