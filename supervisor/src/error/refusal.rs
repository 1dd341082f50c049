//! What the kernel, or a rule of ours, has against a path.

use std::fmt;
use std::io;

use sandbox_protocol::error::ErrorCode;

use super::errno;

/// Why a member of an archive was refused.
#[derive(Debug)]
pub enum Refusal {
    /// It breaks this rule.
    Rule(&'static str),
    /// The kernel would not have it.
    Kernel(io::Error),
}

impl Refusal {
    /// Whose fault that is.
    pub(super) fn code(&self) -> ErrorCode {
        match self {
            Self::Rule(_) => ErrorCode::ValidationFailed,
            // A member's parent that is a file is the archive's fault, not a file that is missing.
            Self::Kernel(cause) => match file_code(cause) {
                ErrorCode::FileNotFound => ErrorCode::ValidationFailed,
                code => code,
            },
        }
    }

    /// The kernel's name of it.
    pub(super) fn errno(&self) -> Option<&'static str> {
        match self {
            Self::Rule(_) => None,
            Self::Kernel(cause) => errno::name(cause),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule(rule) => f.write_str(rule),
            Self::Kernel(cause) => write!(f, "was refused: {}", errno::sentence(cause)),
        }
    }
}

/// What the kernel's refusal of a path in the workspace means for the caller.
pub(super) fn file_code(cause: &io::Error) -> ErrorCode {
    match cause.raw_os_error() {
        Some(libc::ENOENT | libc::ENOTDIR) => ErrorCode::FileNotFound,
        Some(libc::EACCES | libc::EPERM | libc::EXDEV | libc::ELOOP | libc::EROFS) => {
            ErrorCode::PermissionDenied
        }
        Some(libc::ENOSPC | libc::EDQUOT | libc::EFBIG) => ErrorCode::PayloadTooLarge,
        Some(
            libc::EISDIR
            | libc::ENAMETOOLONG
            | libc::EINVAL
            | libc::EEXIST
            | libc::ENOTEMPTY
            | libc::ENXIO
            | libc::EBUSY
            | libc::ETXTBSY,
        ) => ErrorCode::ValidationFailed,
        _ => ErrorCode::InternalError,
    }
}
