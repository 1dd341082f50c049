//! The kernel's errors by name, as they go into an error's context.

use std::io;

/// The name of the kernel's error behind `error` (`ENOENT`), for those that a caller can cause.
#[must_use]
pub fn name(error: &io::Error) -> Option<&'static str> {
    Some(match error.raw_os_error()? {
        libc::EPERM => "EPERM",
        libc::ENOENT => "ENOENT",
        libc::EIO => "EIO",
        libc::ENXIO => "ENXIO",
        libc::E2BIG => "E2BIG",
        libc::ENOEXEC => "ENOEXEC",
        libc::EAGAIN => "EAGAIN",
        libc::ENOMEM => "ENOMEM",
        libc::EACCES => "EACCES",
        libc::EBUSY => "EBUSY",
        libc::EEXIST => "EEXIST",
        libc::EXDEV => "EXDEV",
        libc::ENOTDIR => "ENOTDIR",
        libc::EISDIR => "EISDIR",
        libc::EINVAL => "EINVAL",
        libc::ENFILE => "ENFILE",
        libc::EMFILE => "EMFILE",
        libc::ETXTBSY => "ETXTBSY",
        libc::EFBIG => "EFBIG",
        libc::ENOSPC => "ENOSPC",
        libc::EROFS => "EROFS",
        libc::ENAMETOOLONG => "ENAMETOOLONG",
        libc::ENOSYS => "ENOSYS",
        libc::ENOTEMPTY => "ENOTEMPTY",
        libc::ELOOP => "ELOOP",
        libc::EDQUOT => "EDQUOT",
        _ => return None,
    })
}

/// What the kernel means when it refuses a path, in words that say what a caller did.
#[must_use]
pub fn sentence(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::ENOENT) => "no such file or folder",
        Some(libc::ENOTDIR) => "a part of the path is no folder",
        Some(libc::EISDIR) => "is a folder",
        Some(libc::EACCES | libc::EPERM) => "permission denied",
        Some(libc::EXDEV) => "the path leaves the workspace",
        Some(libc::ELOOP) => "too many links, or one that may not be followed",
        Some(libc::EROFS) => "the file system is read-only",
        Some(libc::ENOSPC | libc::EDQUOT) => "the disk is full",
        Some(libc::EFBIG) => "the file is too large",
        Some(libc::ENAMETOOLONG) => "the name is too long",
        Some(libc::EEXIST | libc::ENOTEMPTY) => "something else is in its place",
        Some(libc::ENOSYS) => "this kernel has no openat2 (Linux 5.6)",
        _ => "the kernel refused",
    }
}
