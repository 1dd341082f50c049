//! Where control groups are mounted, which of them is ours, and the folders that we may have in it.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use super::events::Events;
use super::set;

/// The controllers that hold a limit of ours.
const CONTROLLERS: [&str; 2] = ["memory", "pids"];

/// How long the kernel may take to let go of members that are dead.
const DEATHS: Duration = Duration::from_secs(2);

/// Makes our group ours, if we are its only member: we go into one group below it, so that it can give its
/// controllers to another, which is returned. `None` where there is no hierarchy, or others are in the group.
pub(super) fn claim_own() -> io::Result<Option<PathBuf>> {
    let Some(own) = own()? else {
        return Ok(None);
    };
    let members = fs::read_to_string(own.join("cgroup.procs"))?;
    if members.trim() != std::process::id().to_string() {
        return Ok(None);
    }
    let (ours, processes) = (own.join("supervisor"), own.join("processes"));
    match fs::create_dir(&ours) {
        Err(error) if is_refusal(&error) => return Ok(None),
        made => made?,
    }
    set(&ours, "cgroup.procs", "0")?;
    fs::create_dir(&processes)?;
    enable(&own)?;
    Ok(Some(processes))
}

/// Whether the hierarchy is there to be looked at only, as it usually is in a container.
fn is_refusal(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
    )
}

/// Gives what is in `group` the controllers that it can have. Those that it has then.
pub(super) fn enable(group: &Path) -> io::Result<String> {
    let available = fs::read_to_string(group.join("cgroup.controllers"))?;
    for controller in CONTROLLERS {
        if available.split_ascii_whitespace().any(|c| c == controller) {
            // Another one may be in use all the same.
            if let Err(error) = set(group, "cgroup.subtree_control", &format!("+{controller}")) {
                eprintln!("supervisor: no group has the controller {controller}: {error}");
            }
        }
    }
    fs::read_to_string(group.join("cgroup.subtree_control"))
}

/// The folder of the group that this process is in; `None` where no hierarchy of version 2 shows it.
fn own() -> io::Result<Option<PathBuf>> {
    let mounts = fs::read("/proc/self/mountinfo")?;
    let groups = fs::read("/proc/self/cgroup")?;
    Ok(locate(
        &String::from_utf8_lossy(&mounts),
        &String::from_utf8_lossy(&groups),
    ))
}

fn locate(mounts: &str, groups: &str) -> Option<PathBuf> {
    let path = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    // What is mounted later lies on top.
    mounts.lines().rev().find_map(|mount| within(mount, path))
}

/// The folder of the group `path` in a line of mountinfo, if that mounts control groups and shows this one.
fn within(mount: &str, path: &str) -> Option<PathBuf> {
    let (mount, filesystem) = mount.split_once(" - ")?;
    if filesystem.split(' ').next() != Some("cgroup2") {
        return None;
    }
    let mut fields = mount.split(' ').skip(3);
    let (root, point) = (unescaped(fields.next()?), unescaped(fields.next()?));
    let below = Path::new(path).strip_prefix(root).ok()?;
    // A group outside of our namespace goes by a path through the one above.
    let inside = below
        .components()
        .all(|c| matches!(c, Component::Normal(_)));
    inside.then(|| Path::new(&point).join(below))
}

/// A field of mountinfo as it was: white space and backslashes stand as three octal digits.
fn unescaped(field: &str) -> String {
    let mut parts = field.split('\\');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let code = part
            .get(..3)
            .and_then(|code| u8::from_str_radix(code, 8).ok());
        match code {
            Some(code) => {
                text.push(char::from(code));
                text.push_str(&part[3..]);
            }
            None => text.push_str(part),
        }
    }
    text
}

/// The one group that the local engine makes for a sandbox, below the engine's own and beside whoever else is
/// there. Nothing else of the machine's groups is touched.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// That of the sandbox whose files are in `sandbox`. `None` where there is no hierarchy.
    #[must_use]
    pub fn of(sandbox: &Path) -> Option<Self> {
        // By the name of what only one sandbox has, so that it is found again when all else is gone.
        let mut name = DefaultHasher::new();
        sandbox.hash(&mut name);
        let own = own().ok().flatten()?;
        Some(Self(own.join(format!("sandbox-{:016x}", name.finish()))))
    }

    /// Makes it; what an earlier sandbox left of it goes. `None` where we may not.
    pub fn create(&self) -> io::Result<Option<&Path>> {
        self.remove()?;
        match fs::create_dir(&self.0) {
            Err(error) if is_refusal(&error) => Ok(None),
            made => made.map(|()| Some(self.0.as_path())),
        }
    }

    /// Removes it with all groups in it, whose members are dead or dying; it need not be there.
    pub fn remove(&self) -> io::Result<()> {
        if !self.0.exists() {
            return Ok(());
        }
        if remove_tree(&self.0).is_ok() {
            return Ok(());
        }
        Events::open(&self.0, "cgroup.events")?.wait("populated", 0, DEATHS)?;
        remove_tree(&self.0)
    }
}

/// Removes the group of `folder` and those in it. An error while one has a member.
pub(super) fn remove_tree(folder: &Path) -> io::Result<()> {
    match fs::remove_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        // It has members, or groups in it.
        Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {}
        removed => return removed,
    }
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    fs::remove_dir(folder)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::locate;

    const UNIFIED: &str = "\
23 1 254:0 / / rw,relatime - ext4 /dev/vda rw
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
41 31 0:38 / /sys/fs/cgroup rw,relatime shared:4 - cgroup2 cgroup2 rw";

    fn folder(mounts: &str, groups: &str) -> Option<String> {
        locate(mounts, groups).map(|path: PathBuf| path.to_str().unwrap().to_owned())
    }

    #[test]
    fn our_group_is_below_the_mount_by_the_path_in_the_unified_line() {
        let groups = "4:memory:/other\n0::/system.slice/box.service\n";
        let expected = "/sys/fs/cgroup/system.slice/box.service";
        assert_eq!(folder(UNIFIED, groups).as_deref(), Some(expected));
        let root = folder(UNIFIED, "0::/\n").unwrap();
        assert_eq!(PathBuf::from(root), PathBuf::from("/sys/fs/cgroup"));
    }

    #[test]
    fn a_mount_of_a_part_shows_what_is_in_that_part() {
        let part = "41 31 0:38 /docker/1 /my\\040groups rw - cgroup2 cgroup2 rw";
        let found = folder(part, "0::/docker/1/build\n");
        assert_eq!(found.as_deref(), Some("/my groups/build"));
        assert_eq!(folder(part, "0::/docker/2\n"), None);
    }

    #[test]
    fn without_the_hierarchy_or_outside_of_the_namespace_there_is_none() {
        assert_eq!(folder(UNIFIED, "4:memory:/\n"), None);
        assert_eq!(folder(UNIFIED, "0::/../other\n"), None);
        assert_eq!(folder("", "0::/\n"), None);
    }
}
