//! What is in a folder.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{self, Dir, FileType, Mode, OFlags, Stat};
use sandbox_protocol::file::{Entry, EntryKind};
use sandbox_protocol::time::Timestamp;

use super::path::WorkspacePath;
use super::root::{self, Root};
use crate::error::Error;

/// The entries of the folder at `path`, sorted by name.
pub(super) fn list(root: &Root, path: &WorkspacePath) -> Result<Vec<Entry>, Error> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let folder = match root.open_at(path.as_path(), flags, Mode::empty()) {
        Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => {
            return Err(Error::NotAFile {
                path: path.to_string(),
                rule: "is no folder",
            });
        }
        result => result.map_err(Error::file(path))?,
    };
    let mut entries = Vec::new();
    for read in Dir::read_from(&folder).map_err(Error::file(path))? {
        let read = read.map_err(Error::file(path))?;
        let name = OsStr::from_bytes(read.file_name().to_bytes());
        if name == "." || name == ".." {
            continue;
        }
        // Gone again since it was read: then it is not there.
        if let Some(stat) = root::look(&folder, name).map_err(Error::file(path))? {
            entries.push(entry(&folder, name, &stat));
        }
    }
    entries.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(entries)
}

fn entry(folder: &impl std::os::fd::AsFd, name: &OsStr, stat: &Stat) -> Entry {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => EntryKind::File,
        FileType::Directory => EntryKind::Directory,
        FileType::Symlink => EntryKind::Symlink,
        _ => EntryKind::Other,
    };
    let target = (kind == EntryKind::Symlink)
        .then(|| fs::readlinkat(folder, name, Vec::new()).ok())
        .flatten();
    Entry {
        name: name.to_string_lossy().into_owned(),
        kind,
        size_bytes: u64::try_from(stat.st_size).unwrap_or(0),
        modified_at: modified_at(stat),
        mode: format!("{:04o}", stat.st_mode & 0o7777),
        target: target.map(|target| target.to_string_lossy().into_owned()),
    }
}

#[expect(
    clippy::useless_conversion,
    reason = "the field's width depends on the target"
)]
fn modified_at(stat: &Stat) -> Timestamp {
    let nanoseconds = i64::try_from(stat.st_mtime_nsec).unwrap_or(0);
    Timestamp(i64::from(stat.st_mtime) * 1000 + nanoseconds / 1_000_000)
}
