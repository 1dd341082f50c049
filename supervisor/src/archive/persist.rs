//! Packing: folder by folder, one open at a time, no link followed.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{self, Dir, FileType, Mode, OFlags, Stat};
use tar::{Builder, EntryType, Header};

use crate::error::Error;
use crate::files::{Download, Root, look};

/// Paths, relative to the workspace, that stay out of the archive with all that is under them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Excludes(Vec<PathBuf>);

impl Excludes {
    /// Reads `a,b/c`; `./` before a path and a slash after it mean nothing.
    #[must_use]
    pub fn parse(list: &str) -> Self {
        let clean = |path: &str| {
            let normal = |component| matches!(component, std::path::Component::Normal(_));
            Path::new(path.trim())
                .components()
                .filter(|component| normal(*component))
                .collect::<PathBuf>()
        };
        let paths = list.split(',').map(clean);
        Self(paths.filter(|path| !path.as_os_str().is_empty()).collect())
    }

    fn has(&self, path: &Path) -> bool {
        self.0.iter().any(|excluded| path.starts_with(excluded))
    }
}

/// Writes the workspace to `out`.
pub(super) fn pack(root: &Root, excludes: &Excludes, out: &mut Download) -> Result<(), Error> {
    let mut archive = Builder::new(out);
    let mut folders = vec![PathBuf::new()];
    while let Some(path) = folders.pop() {
        let shown = path.display();
        let opened = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            &path
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        let folder = root
            .open_at(opened, flags, Mode::empty())
            .map_err(Error::file(&shown))?;
        for name in names(&folder).map_err(Error::file(&shown))? {
            let member = path.join(&name);
            if excludes.has(&member) {
                continue;
            }
            let kind = append(&mut archive, &folder, &name, &member)
                .map_err(Error::file(&member.display()))?;
            if kind == Some(FileType::Directory) {
                folders.push(member);
            }
        }
    }
    archive.finish().map_err(Error::internal("end an archive"))
}

/// The names in `folder`, sorted, so that the same workspace gives the same archive.
fn names(folder: &OwnedFd) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let name = OsStr::from_bytes(entry?.file_name().to_bytes()).to_owned();
        if name != "." && name != ".." {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Appends `name` in `folder` as `member` and tells what it was; `None` if it was gone or is nothing that an
/// archive for us may hold: a socket, a FIFO, a device.
fn append(
    archive: &mut Builder<&mut Download>,
    folder: &OwnedFd,
    name: &OsStr,
    member: &Path,
) -> io::Result<Option<FileType>> {
    let Some(stat) = look(folder, name)? else {
        return Ok(None);
    };
    let kind = FileType::from_raw_mode(stat.st_mode);
    let mut header = header(&stat);
    match kind {
        FileType::Directory => {
            header.set_entry_type(EntryType::Directory);
            archive.append_data(&mut header, member.join(""), io::empty())?;
        }
        FileType::Symlink => {
            let target = fs::readlinkat(folder.as_fd(), name, Vec::new())?;
            header.set_entry_type(EntryType::Symlink);
            archive.append_link(&mut header, member, OsStr::from_bytes(target.to_bytes()))?;
        }
        FileType::RegularFile => append_file(archive, folder, name, member, header)?,
        _ => return Ok(None),
    }
    Ok(Some(kind))
}

fn append_file(
    archive: &mut Builder<&mut Download>,
    folder: &OwnedFd,
    name: &OsStr,
    member: &Path,
    mut header: Header,
) -> io::Result<()> {
    // It may have become a FIFO or a link since it was looked at.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(fs::openat(folder, name, flags, Mode::empty())?);
    let length = file.metadata()?.len();
    header.set_size(length);
    let exactly = Exactly { file, left: length };
    archive.append_data(&mut header, member, exactly)
}

/// Owner and group are left out: whoever unpacks it owns it.
fn header(stat: &Stat) -> Header {
    let mut header = Header::new_gnu();
    header.set_mode(stat.st_mode & 0o777);
    header.set_mtime(u64::try_from(stat.st_mtime).unwrap_or(0));
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(0);
    header
}

/// As many bytes of a file as its header says; a file that shrank is an error, lest the archive lie.
struct Exactly {
    file: File,
    left: u64,
}

impl Read for Exactly {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = (&self.file).take(self.left).read(buffer)?;
        if length == 0 && self.left > 0 && !buffer.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= length as u64;
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::Excludes;

    #[test]
    fn an_excluded_folder_takes_what_is_under_it() {
        let excludes = Excludes::parse("./node_modules/, app/.git,,");
        for (path, excluded) in [
            ("node_modules", true),
            ("node_modules/a", true),
            ("node_modules2", false),
            ("app/node_modules", false),
            ("app/.git/HEAD", true),
            ("app", false),
        ] {
            assert_eq!(excludes.has(Path::new(path)), excluded, "{path}");
        }
        assert_eq!(Excludes::parse(""), Excludes::default());
    }
}
