//! Unpacking: every member is judged by its words here, and by the kernel where it is opened.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{self, AtFlags, Mode, OFlags};
use rustix::io::Errno;
use sandbox_protocol::request::MAX_DRAINED_BYTES;
use tar::{Archive, Entry, EntryType};

use super::member::{Stop, inside, link_name, mode, mtime, split, stays_inside, times, unreadable};
use super::tape::Tape;
use crate::error::{Error, Refusal};
use crate::files::{Root, Upload, is_folder, look};

/// Bytes that are copied at a time.
const COPY_BYTES: usize = 64 << 10;

/// Unpacks what `upload` gives into `root`.
pub(super) fn unpack(root: &Root, upload: &mut Upload) -> Result<(), Error> {
    let mut archive = Archive::new(Tape::new(&mut *upload));
    let mut unpacking = Unpacking {
        root,
        written: 0,
        folders: BTreeMap::new(),
        links: Vec::new(),
        buffer: vec![0; COPY_BYTES],
    };
    let broken = |written| {
        move |error: io::Error| Error::Archive {
            rule: format!("cannot be read: {error}"),
            written,
        }
    };
    for entry in archive.entries().map_err(broken(0))? {
        unpacking.member(entry.map_err(broken(unpacking.written))?)?;
    }
    let tape = archive.into_inner();
    unpacking.finish(&tape)?;
    // What may follow the end of an archive is nothing to it, but its sender wants to be rid of it.
    let mut rest = (&mut *upload).take(MAX_DRAINED_BYTES);
    io::copy(&mut rest, &mut io::sink()).map_err(broken(unpacking.written))?;
    Ok(())
}

/// The state of an unpacking.
struct Unpacking<'a> {
    root: &'a Root,
    written: u64,
    /// Modes and times of folders are set last: what is put into a folder needs it writable and touches it.
    folders: BTreeMap<PathBuf, (Mode, u64)>,
    /// Where a link leads is known for sure only when everything is there.
    links: Vec<PathBuf>,
    buffer: Vec<u8>,
}

impl Unpacking<'_> {
    fn member<R: Read>(&mut self, mut entry: Entry<'_, R>) -> Result<(), Error> {
        let kind = entry.header().entry_type();
        if kind == EntryType::XGlobalHeader {
            return Ok(());
        }
        let name = entry.path_bytes().into_owned();
        let shown = String::from_utf8_lossy(&name).into_owned();
        let written = self.written;
        let refused = |reason| Error::Member {
            path: shown.clone(),
            written,
            reason,
        };
        let path = inside(&name).map_err(|rule| refused(Refusal::Rule(rule)))?;
        let done = match kind {
            EntryType::Directory => self.folder(path, &entry),
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                self.file(&path, &mut entry)
            }
            EntryType::Symlink => self.symlink(path, &entry),
            EntryType::Link => self.hard_link(&path, &entry),
            EntryType::Char | EntryType::Block => Err(Stop::Rule("is a device")),
            EntryType::Fifo => Err(Stop::Rule("is a FIFO")),
            _ => Err(Stop::Rule("is of a kind that is not known here")),
        };
        match done {
            Ok(()) => self.written += 1,
            Err(Stop::Rule(rule)) => return Err(refused(Refusal::Rule(rule))),
            Err(Stop::Kernel(cause)) => return Err(refused(Refusal::Kernel(cause))),
            Err(Stop::Archive(rule)) => return Err(Error::Archive { rule, written }),
        }
        Ok(())
    }

    fn folder<R: Read>(&mut self, path: PathBuf, entry: &Entry<'_, R>) -> Result<(), Stop> {
        if path.as_os_str().is_empty() {
            return Ok(());
        }
        self.root.make_folder(&path)?;
        self.folders.insert(path, (mode(entry)?, mtime(entry)?));
        Ok(())
    }

    fn file<R: Read>(&mut self, path: &Path, entry: &mut Entry<'_, R>) -> Result<(), Stop> {
        let (folder, name) = self.place(path)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = fs::openat(&folder, name, flags, Mode::from(0o600))?;
        let mut file = File::from(file);
        let mut copied = 0;
        loop {
            let length = entry
                .read(&mut self.buffer)
                .map_err(|error| unreadable(&error))?;
            if length == 0 {
                break;
            }
            file.write_all(&self.buffer[..length])?;
            copied += length as u64;
        }
        if copied < entry.size() {
            let rule = format!("ends in the middle of {}", path.display());
            return Err(Stop::Archive(rule));
        }
        fs::fchmod(&file, mode(entry)?)?;
        fs::futimens(&file, &times(mtime(entry)?))?;
        Ok(())
    }

    fn symlink<R: Read>(&mut self, path: PathBuf, entry: &Entry<'_, R>) -> Result<(), Stop> {
        let target = link_name(entry)?;
        if !stays_inside(&path, Path::new(&target)) {
            return Err(Stop::Rule("is a link that leaves the workspace"));
        }
        let (folder, name) = self.place(&path)?;
        fs::symlinkat(&target, &folder, name)?;
        let times = times(mtime(entry)?);
        fs::utimensat(&folder, name, &times, AtFlags::SYMLINK_NOFOLLOW)?;
        self.links.push(path);
        Ok(())
    }

    fn hard_link<R: Read>(&mut self, path: &Path, entry: &Entry<'_, R>) -> Result<(), Stop> {
        let target = link_name(entry)?;
        let target = inside(target.as_bytes())
            .map_err(|_| Stop::Rule("is a link that leaves the workspace"))?;
        if target == path {
            return Err(Stop::Rule("is a link to itself"));
        }
        let (from, from_name) = split(&target)?;
        let from = self.root.folder(from)?;
        let (folder, name) = self.place(path)?;
        // Both ends are names in folders opened beneath; the last name is not followed.
        fs::linkat(&from, from_name, &folder, name, AtFlags::empty())?;
        Ok(())
    }

    /// The folder of `path`, made where it is missing, and the name in it, free to be taken.
    fn place<'p>(&self, path: &'p Path) -> Result<(OwnedFd, &'p OsStr), Stop> {
        let (folder, name) = split(path)?;
        let folder = self.root.make_folder(folder)?;
        match look(&folder, name)? {
            Some(stat) if is_folder(&stat) => return Err(Stop::Rule("would replace a folder")),
            Some(_) => fs::unlinkat(&folder, name, AtFlags::empty())?,
            None => {}
        }
        Ok((folder, name))
    }

    fn finish<R: Read>(&self, tape: &Tape<R>) -> Result<(), Error> {
        let written = self.written;
        if tape.is_empty() || !tape.has_ended() {
            let rule = if tape.is_empty() {
                "is empty"
            } else {
                "ends before its end mark"
            };
            return Err(Error::Archive {
                rule: rule.to_owned(),
                written,
            });
        }
        let refused = |path: &Path, reason| Error::Member {
            path: path.display().to_string(),
            written,
            reason,
        };
        for link in &self.links {
            self.check_link(link)
                .map_err(|stop| refused(link, stop.into()))?;
        }
        // Children before parents, for a parent may become read-only.
        for (folder, (mode, mtime)) in self.folders.iter().rev() {
            self.dress(folder, *mode, *mtime)
                .map_err(|cause| refused(folder, Refusal::Kernel(cause)))?;
        }
        Ok(())
    }

    /// Lets the kernel follow `link`, which may lead over other links; takes it away if it leads out.
    fn check_link(&self, link: &Path) -> Result<(), Stop> {
        match self.root.open_at(link, OFlags::PATH, Mode::empty()) {
            Err(error) if error.raw_os_error() == Some(Errno::XDEV.raw_os_error()) => {
                let (folder, name) = split(link)?;
                fs::unlinkat(self.root.folder(folder)?, name, AtFlags::empty())?;
                Err(Stop::Rule("is a link that leaves the workspace"))
            }
            // It leads inside, or nowhere (yet), or round in a circle: as in the archive.
            _ => Ok(()),
        }
    }

    fn dress(&self, folder: &Path, mode: Mode, mtime: u64) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let folder = self.root.open_at(folder, flags, Mode::empty())?;
        fs::futimens(&folder, &times(mtime))?;
        fs::fchmod(&folder, mode)?;
        Ok(())
    }
}
