//! The folder of one sandbox: made fresh, and removed whatever is in it.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::process::cgroup;

/// A sandbox's folder.
///
/// `workspace` and `tmp` are what the sandbox sees as `/workspace` and `/tmp`; `private` has its supervisor's
/// socket and state; `root` is where its root is built.
#[derive(Clone, Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) const fn at(path: PathBuf) -> Self {
        Self(path)
    }

    pub(super) fn workspace(&self) -> PathBuf {
        self.0.join("workspace")
    }

    pub(super) fn tmp(&self) -> PathBuf {
        self.0.join("tmp")
    }

    pub(super) fn private(&self) -> PathBuf {
        self.0.join("private")
    }

    pub(super) fn root(&self) -> PathBuf {
        self.0.join("root")
    }

    /// The control group that goes with it, if groups can be had.
    pub(super) fn cgroup(&self) -> Option<cgroup::Folder> {
        cgroup::Folder::of(&self.0)
    }

    /// Makes it anew; what an earlier sandbox left there goes.
    pub(super) fn create(&self) -> io::Result<()> {
        self.remove()?;
        for (folder, mode) in [
            (self.0.clone(), 0o700),
            (self.workspace(), 0o755),
            (self.tmp(), 0o1777),
            (self.private(), 0o700),
            (self.root(), 0o700),
        ] {
            DirBuilder::new().create(&folder)?;
            // Past the umask.
            fs::set_permissions(&folder, Permissions::from_mode(mode))?;
        }
        Ok(())
    }

    /// Removes it; it need not be there.
    pub(super) fn remove(&self) -> io::Result<()> {
        let removed = match fs::remove_dir_all(&self.0) {
            // A folder that its owner may not write.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                open_up(&self.0)?;
                fs::remove_dir_all(&self.0)
            }
            removed => removed,
        };
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// Makes every folder under `folder` writable. Nothing runs there any more that could put a link in the way.
fn open_up(folder: &Path) -> io::Result<()> {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        fs::set_permissions(&folder, Permissions::from_mode(0o700))?;
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    Ok(())
}
