//! One member of an archive: what its words say, and whether it may be.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{self, Mode, Timespec, Timestamps};
use rustix::io::Errno;
use tar::Entry;

use crate::error::Refusal;

/// Why a member, and with it the unpacking, is stopped.
pub(super) enum Stop {
    Rule(&'static str),
    Kernel(io::Error),
    Archive(String),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Kernel(error)
    }
}

impl From<Errno> for Stop {
    fn from(error: Errno) -> Self {
        Self::Kernel(error.into())
    }
}

impl From<Stop> for Refusal {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Rule(rule) => Self::Rule(rule),
            Stop::Kernel(cause) => Self::Kernel(cause),
            Stop::Archive(rule) => Self::Kernel(io::Error::other(rule)),
        }
    }
}

pub(super) fn unreadable(error: &io::Error) -> Stop {
    Stop::Archive(format!("cannot be read: {error}"))
}

/// The member's path without `.` and doubled slashes; a rule if it is absolute or has `..`.
pub(super) fn inside(name: &[u8]) -> Result<PathBuf, &'static str> {
    if name.contains(&0) {
        return Err("has a NUL in its name");
    }
    let mut path = PathBuf::new();
    for component in Path::new(OsStr::from_bytes(name)).components() {
        match component {
            Component::Normal(name) => path.push(name),
            Component::CurDir => {}
            Component::ParentDir => return Err("has '..' in its path"),
            Component::RootDir | Component::Prefix(_) => return Err("has an absolute path"),
        }
    }
    Ok(path)
}

/// Whether the words of `target`, read from the folder of `link`, never climb above the workspace.
pub(super) fn stays_inside(link: &Path, target: &Path) -> bool {
    let mut depth = link.components().count() - 1;
    for component in target.components() {
        match component {
            Component::Normal(_) => depth += 1,
            Component::CurDir => {}
            Component::ParentDir if depth > 0 => depth -= 1,
            _ => return false,
        }
    }
    true
}

pub(super) fn split(path: &Path) -> Result<(&Path, &OsStr), Stop> {
    let name = path.file_name().ok_or(Stop::Rule("has no name"))?;
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    Ok((folder.unwrap_or(Path::new(".")), name))
}

pub(super) fn link_name<R: Read>(entry: &Entry<'_, R>) -> Result<OsString, Stop> {
    let target = entry.link_name_bytes().unwrap_or_default();
    if target.is_empty() || target.contains(&0) {
        return Err(Stop::Rule("is a link to nowhere"));
    }
    Ok(OsStr::from_bytes(&target).to_owned())
}

/// The permissions; neither setuid, setgid nor the sticky bit.
pub(super) fn mode<R: Read>(entry: &Entry<'_, R>) -> Result<Mode, Stop> {
    let mode = entry.header().mode().map_err(|error| unreadable(&error))?;
    Ok(Mode::from_raw_mode(mode & 0o777))
}

pub(super) fn mtime<R: Read>(entry: &Entry<'_, R>) -> Result<u64, Stop> {
    entry.header().mtime().map_err(|error| unreadable(&error))
}

pub(super) fn times(mtime: u64) -> Timestamps {
    Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: fs::UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: i64::try_from(mtime).unwrap_or(i64::MAX),
            tv_nsec: 0,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{inside, stays_inside};

    #[test]
    fn a_member_is_named_relative_to_the_workspace() {
        assert_eq!(inside(b"./a//b/./c").unwrap(), Path::new("a/b/c"));
        assert_eq!(inside(b"./").unwrap(), Path::new(""));
        for bad in [&b"/etc/passwd"[..], b"../a", b"a/../b", b"a\0b"] {
            assert!(inside(bad).is_err());
        }
    }

    #[test]
    fn a_link_may_climb_as_high_as_the_workspace() {
        for (link, target, stays) in [
            ("a", "b", true),
            ("a/b", "../c", true),
            ("a/b", "../../c", false),
            ("a", "..", false),
            ("a", "b/../../c", false),
            ("a", "/workspace/b", false),
        ] {
            assert_eq!(
                stays_inside(Path::new(link), Path::new(target)),
                stays,
                "{link} -> {target}"
            );
        }
    }
}
