//! Control groups as the tests see them, and one of their own to give to a supervisor.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::harness::Supervisor;
use crate::proc::eventually;

/// A group without members, for a supervisor to make groups in.
pub(crate) struct Home(PathBuf);

impl Home {
    /// Makes one below our own group; `None` where the kernel lets us have none.
    pub(crate) fn make() -> Option<Self> {
        let folder = of(std::process::id())?.join(format!("test-{:016x}", random()));
        fs::create_dir(&folder).ok()?;
        Some(Self(folder))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// The groups in it, each with its members.
    pub(crate) fn groups(&self) -> Vec<(PathBuf, Vec<u32>)> {
        let folders = fs::read_dir(&self.0).unwrap().flatten();
        let folders = folders.filter(|entry| entry.file_type().unwrap().is_dir());
        let members = |folder: &Path| {
            let list = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
            list.lines().map(|pid| pid.parse().unwrap()).collect()
        };
        folders
            .map(|entry| (entry.path(), members(&entry.path())))
            .collect()
    }

    /// Waits until there is no group in it any more.
    pub(crate) async fn empty(&self) {
        eventually("no group is left", async || {
            self.groups().is_empty().then_some(())
        })
        .await;
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // What a test that failed left may live on for a moment.
        for (group, _) in self.groups() {
            let _ = fs::write(group.join("cgroup.kill"), "1");
            let _ = fs::remove_dir(group);
        }
        let _ = fs::remove_dir(&self.0);
    }
}

/// A supervisor that makes its groups in a home; without one where the kernel lets us have none, and then it
/// says so itself.
pub(crate) async fn supervisor() -> (Supervisor, Option<Home>) {
    let home = Home::make();
    let path = home
        .as_ref()
        .map_or("", |home| home.path().to_str().unwrap());
    let supervisor = Supervisor::start_with(&[("SANDBOX_CGROUP", path)]);
    if home.is_none() {
        let told = told_limits(&supervisor).await;
        assert_eq!(told, [false, false], "there are no groups here");
    }
    (supervisor, home)
}

/// Whether the supervisor says that the kernel holds limits of memory and of processes.
pub(crate) async fn told_limits(supervisor: &Supervisor) -> [bool; 2] {
    let limits = supervisor.get("/limits").await.json();
    ["memoryBytes", "treeProcesses"].map(|name| {
        let mut all = limits["limits"].as_array().unwrap().iter();
        let limit = all.find(|limit| limit["name"] == json!(name)).unwrap();
        limit["enforced"]
            .as_str()
            .unwrap()
            .contains("control group")
    })
}

/// The folder of the group that `pid` is in, if this machine shows it.
pub(crate) fn of(pid: u32) -> Option<PathBuf> {
    listed(&fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?)
}

/// The folder of the group that a `/proc/<pid>/cgroup` names, if this machine shows it.
pub(crate) fn listed(groups: &str) -> Option<PathBuf> {
    let path = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mount = mounts.lines().find(|line| line.contains(" - cgroup2 "))?;
    Some(Path::new(mount.split(' ').nth(4)?).join(path))
}

/// A number that no other test has.
fn random() -> u64 {
    let mut bytes = [0; 8];
    rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty()).unwrap();
    u64::from_ne_bytes(bytes)
}
