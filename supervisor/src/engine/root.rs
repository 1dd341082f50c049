//! The root of a sandbox: the machine's folders, but its own `/workspace`, `/tmp` and `/proc`.

use std::fs::{self, DirEntry};
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;

use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_bind_recursive,
    mount_change, mount_remount, unmount,
};

use super::folder::Folder;

/// Where the sandbox finds what is its supervisor's own: a path that no machine has.
pub(super) const PRIVATE: &str = "/.sandbox";

/// What is not the machine's: made here, or of no use.
const OWN: [&str; 5] = ["workspace", "tmp", "proc", ".sandbox", "lost+found"];

/// Builds the root in `folder` and makes it this process's. To be called in a fresh mount namespace, by the
/// first process of a fresh pid namespace.
pub(super) fn enter(folder: &Folder) -> io::Result<()> {
    // Nothing that is mounted here is to be seen outside.
    mount_change(
        "/",
        MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
    )?;
    let root = folder.root();
    mount(
        "tmpfs",
        &root,
        "tmpfs",
        MountFlags::NOSUID,
        c"mode=0755,size=1m",
    )?;
    for entry in fs::read_dir("/")? {
        let entry = entry?;
        if !OWN.iter().any(|own| entry.file_name() == *own) {
            share(&entry, &root)?;
        }
    }
    for (name, source) in [
        ("workspace", folder.workspace()),
        ("tmp", folder.tmp()),
        (".sandbox", folder.private()),
    ] {
        let target = root.join(name);
        fs::create_dir(&target)?;
        mount_bind(&source, &target)?;
    }
    let proc = root.join("proc");
    fs::create_dir(&proc)?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("proc", &proc, "proc", flags, None)?;
    pivot(&root)
}

/// Shows one entry of the machine's root under the new one.
fn share(entry: &DirEntry, root: &Path) -> io::Result<()> {
    let (source, target) = (entry.path(), root.join(entry.file_name()));
    let kind = entry.file_type()?;
    if kind.is_symlink() {
        return symlink(fs::read_link(&source)?, &target);
    }
    if kind.is_dir() {
        fs::create_dir(&target)?;
    } else {
        fs::File::create(&target)?;
    }
    if let Err(error) = mount_bind_recursive(&source, &target) {
        // A folder that is not to be had (a network share that is away) is empty for the sandbox.
        eprintln!(
            "engine: {} is not shared with a sandbox: {error}",
            source.display()
        );
    }
    Ok(())
}

fn pivot(root: &Path) -> io::Result<()> {
    rustix::process::chdir(root)?;
    // Both at the same place: the old root comes to lie on the new one, and is taken off.
    rustix::process::pivot_root(".", ".")?;
    unmount(".", UnmountFlags::DETACH)?;
    // What is written to `/` itself would be lost in memory.
    let flags = MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID;
    mount_remount("/", flags, c"")?;
    rustix::process::chdir("/workspace")?;
    Ok(())
}
