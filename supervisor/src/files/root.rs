//! The workspace's folder as the root of every open: the kernel resolves beneath it or refuses.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{self, AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use crate::error::Error;

/// Neither `..` nor a link leads out, and no link of `/proc` leads anywhere.
const BENEATH: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_MAGICLINKS);

/// How often an open is tried again when a rename elsewhere makes the kernel unsure about `..`.
const RENAME_RACES: u32 = 64;

/// An open workspace.
#[derive(Debug)]
pub(crate) struct Root(OwnedFd);

impl Root {
    /// Opens the workspace in `folder`.
    pub(crate) fn open(folder: &Path) -> Result<Self, Error> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        fs::openat(CWD, folder, flags, Mode::empty())
            .map(Self)
            .map_err(Error::internal("open the workspace"))
    }

    /// Opens `path` with `flags`, beneath the workspace.
    pub(crate) fn open_at(&self, path: &Path, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
        let flags = flags | OFlags::CLOEXEC;
        let mut races = 0;
        loop {
            match fs::openat2(&self.0, path, flags, mode, BENEATH) {
                Err(Errno::AGAIN) if races < RENAME_RACES => races += 1,
                Err(Errno::INTR) => {}
                result => return Ok(result?),
            }
        }
    }

    /// Opens the folder at `path`, for its names to be worked on.
    pub(crate) fn folder(&self, path: &Path) -> io::Result<OwnedFd> {
        self.open_at(path, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())
    }

    /// Opens the folder at `path`, made with its parents where they are missing.
    pub(crate) fn make_folder(&self, path: &Path) -> io::Result<OwnedFd> {
        match self.folder(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            result => return result,
        }
        let mut made = PathBuf::from(".");
        let mut folder = self.folder(&made)?;
        for component in path.components() {
            let name = component.as_os_str();
            match fs::mkdirat(&folder, name, Mode::from(0o777)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
            // Again from the root: a `..` or a link on the way is the kernel's to judge.
            made.push(name);
            folder = self.folder(&made)?;
        }
        Ok(folder)
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// What `name` in `folder` is, a link itself and not where it leads; `None` if nothing is there.
pub(crate) fn look(folder: impl AsFd, name: &OsStr) -> io::Result<Option<Stat>> {
    match fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Whether `stat` tells of a folder.
pub(crate) fn is_folder(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode).is_dir()
}
