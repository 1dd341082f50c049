//! What is in a file: read, replaced, removed.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{self, AtFlags, FileType, Mode, OFlags};

use super::path::WorkspacePath;
use super::root::{self, Root};
use super::transfer::{Download, Upload};
use crate::boot::BootId;
use crate::error::Error;

/// Opens the regular file at `path` and tells its length.
pub(super) fn open(root: &Root, path: &WorkspacePath) -> Result<(File, u64), Error> {
    // A FIFO without a writer would hold the open for ever.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = root
        .open_at(path.as_path(), flags, Mode::empty())
        .map(File::from)
        .map_err(Error::file(path))?;
    let metadata = file.metadata().map_err(Error::file(path))?;
    if !metadata.is_file() {
        let rule = if metadata.is_dir() {
            "is a folder"
        } else {
            "is no regular file"
        };
        return Err(not_a_file(path, rule));
    }
    Ok((file, metadata.len()))
}

/// Sends `length` bytes of `file`; fewer are an error, for the length is told already.
pub(super) fn send(file: &File, length: u64, out: &mut Download) -> Result<(), Error> {
    let sent = io::copy(&mut file.take(length), out).map_err(Error::internal("send a file"))?;
    if sent < length {
        let cause = io::Error::from(io::ErrorKind::UnexpectedEof);
        return Err(Error::internal("send a file that shrank")(cause));
    }
    Ok(())
}

/// Puts what `upload` gives in the place of the file at `path`; its mode stays, its parents are made.
pub(super) fn replace(root: &Root, path: &WorkspacePath, upload: &mut Upload) -> Result<(), Error> {
    let (folder, name) = path.split()?;
    let folder = root.make_folder(folder).map_err(Error::file(path))?;
    let present = root::look(&folder, name).map_err(Error::file(path))?;
    if present.as_ref().is_some_and(root::is_folder) {
        return Err(not_a_file(path, "is a folder"));
    }
    let draft = Draft::create(&folder).map_err(Error::file(path))?;
    let mut file = BufWriter::with_capacity(64 << 10, &draft.file);
    io::copy(upload, &mut file).map_err(Error::file(path))?;
    file.flush().map_err(Error::file(path))?;
    drop(file);
    if let Some(stat) = present
        && FileType::from_raw_mode(stat.st_mode).is_file()
    {
        let mode = Mode::from_raw_mode(stat.st_mode & 0o777);
        fs::fchmod(&draft.file, mode).map_err(Error::file(path))?;
    }
    draft.publish(name).map_err(Error::file(path))
}

/// Removes the file or link at `path`.
pub(super) fn remove(root: &Root, path: &WorkspacePath) -> Result<(), Error> {
    let (folder, name) = path.split()?;
    let folder = root.folder(folder).map_err(Error::file(path))?;
    let present = root::look(&folder, name).map_err(Error::file(path))?;
    if present.as_ref().is_some_and(root::is_folder) {
        return Err(not_a_file(path, "is a folder"));
    }
    fs::unlinkat(&folder, name, AtFlags::empty()).map_err(Error::file(path))
}

fn not_a_file(path: &WorkspacePath, rule: &'static str) -> Error {
    Error::NotAFile {
        path: path.to_string(),
        rule,
    }
}

/// A file under a name of its own in the folder where it will belong; gone when dropped unpublished.
struct Draft<'a> {
    folder: &'a OwnedFd,
    name: OsString,
    file: File,
    published: bool,
}

impl<'a> Draft<'a> {
    fn create(folder: &'a OwnedFd) -> io::Result<Self> {
        let name = OsString::from(format!(".upload-{}", BootId::random()?));
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = fs::openat(folder.as_fd(), Path::new(&name), flags, Mode::from(0o666))?;
        Ok(Self {
            folder,
            name,
            file: file.into(),
            published: false,
        })
    }

    fn publish(mut self, name: &OsStr) -> io::Result<()> {
        fs::renameat(self.folder, &self.name, self.folder, name)?;
        self.published = true;
        Ok(())
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        if !self.published
            && let Err(error) = fs::unlinkat(self.folder, &self.name, AtFlags::empty())
        {
            eprintln!("supervisor: {} stays behind: {error}", self.name.display());
        }
    }
}
