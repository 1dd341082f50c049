//! A segment: blocks of frames in one file that has no name.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSliceMut};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use rustix::io::ReadWriteFlags;

/// A file of blocks. It is unlinked as soon as it is open, so nobody else can reach it and the kernel frees
/// it with the last handle, however the supervisor ends. What a reader holds stays readable.
#[derive(Debug)]
pub(super) struct Segment {
    file: File,
    ordinal: u64,
}

impl Segment {
    /// Creates an empty one in `dir`. `ordinal` is its place in the order of all segments, and unique.
    pub(super) fn create(dir: &Path, ordinal: u64) -> io::Result<Self> {
        let path = dir.join(format!("{ordinal}.segment"));
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        fs::remove_file(&path)?;
        Ok(Self { file, ordinal })
    }

    /// Its place in the order of all segments.
    pub(super) fn ordinal(&self) -> u64 {
        self.ordinal
    }

    /// Writes a block at `offset`. Waits for the disk.
    pub(super) fn write(&self, block: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(block, offset)
    }

    /// Reads `len` bytes at `offset` if the kernel has them in memory, without waiting.
    pub(super) fn read_cached(&self, offset: u64, len: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; len];
        let parts = &mut [IoSliceMut::new(&mut bytes)];
        // An error is no failure yet: not every file system can be asked so, and `read` will tell.
        let read = rustix::io::preadv2(&self.file, parts, offset, ReadWriteFlags::NOWAIT);
        (read == Ok(len)).then_some(bytes)
    }

    /// Reads `len` bytes at `offset`. Waits for the disk.
    pub(super) fn read(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(len);
        while bytes.len() < len {
            let at = offset + bytes.len() as u64;
            // Into memory that is not set to zero first; nobody sees more of it than was read.
            match rustix::io::pread(&self.file, rustix::buffer::spare_capacity(&mut bytes), at) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        bytes.truncate(len);
        Ok(bytes)
    }
}
