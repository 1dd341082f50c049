//! What can go wrong in the supervisor, and which code of the wire it is.

pub mod errno;
mod refusal;

use std::fmt;
use std::io;

use sandbox_protocol::error::{ErrorBody, ErrorCode};
use sandbox_protocol::request::invalid;

use refusal::file_code;

pub use refusal::Refusal;

/// An error, named by its condition.
#[derive(Debug)]
pub enum Error {
    /// One that is already in the words of the wire.
    Wire(Box<ErrorBody>),
    /// No token, or a wrong one.
    Unauthorized,
    /// No route has this path.
    RouteNotFound {
        /// The path that was asked for.
        path: String,
    },
    /// The route has no such method.
    MethodNotAllowed {
        /// The methods that it has.
        allow: Vec<String>,
    },
    /// The body is of another media type than the route reads.
    MediaType {
        /// The type that it reads.
        expected: &'static str,
    },
    /// The body is larger than is read.
    BodyTooLarge {
        /// The most that is read, in bytes.
        max_bytes: u64,
    },
    /// The body ended before its time, or its framing is broken.
    BodyBroken {
        /// What the connection said.
        detail: String,
    },
    /// A query or path parameter breaks its rule.
    Parameter {
        /// Its name.
        name: &'static str,
        /// The rule.
        rule: String,
    },
    /// The path is not under the workspace.
    OutsideWorkspace {
        /// The path, absolute.
        path: String,
    },
    /// The path is there and is not what the call is for.
    NotAFile {
        /// The path, absolute.
        path: String,
        /// What it is.
        rule: &'static str,
    },
    /// The kernel refused a path of the workspace.
    File {
        /// The path, absolute.
        path: String,
        /// Its reason.
        cause: io::Error,
    },
    /// The archive is none, or is not whole.
    Archive {
        /// What is wrong with it.
        rule: String,
        /// How many members had been written.
        written: u64,
    },
    /// A member of an archive was refused.
    Member {
        /// Its path, as the archive has it.
        path: String,
        /// How many members had been written.
        written: u64,
        /// Why.
        reason: Refusal,
    },
    /// The kernel refused us something that no caller can help. The cause goes to the log, not to the client.
    Internal {
        /// What was being done, for the log.
        doing: &'static str,
        /// The cause.
        cause: io::Error,
    },
}

impl Error {
    /// Wraps the cause of a failure that no caller can help; for `map_err`.
    pub fn internal<E: Into<io::Error>>(doing: &'static str) -> impl FnOnce(E) -> Self {
        move |cause| Self::Internal {
            doing,
            cause: cause.into(),
        }
    }

    /// Names the path that the kernel refused; for `map_err`.
    pub fn file<E: Into<io::Error>>(path: &impl fmt::Display) -> impl FnOnce(E) -> Self {
        move |cause| Self::File {
            path: path.to_string(),
            cause: cause.into(),
        }
    }

    /// The error in the words of the wire. The one place where a condition gets its [`ErrorCode`].
    #[must_use]
    pub fn body(&self) -> ErrorBody {
        match self {
            Self::Wire(body) => body.as_ref().clone(),
            Self::Unauthorized => ErrorBody::new(ErrorCode::Unauthorized, self.to_string()),
            Self::RouteNotFound { .. } => {
                ErrorBody::new(ErrorCode::RouteNotFound, self.to_string())
            }
            Self::MethodNotAllowed { allow } => {
                ErrorBody::new(ErrorCode::MethodNotAllowed, self.to_string())
                    .with(|context| context.allow = Some(allow.clone()))
            }
            Self::MediaType { .. } => {
                ErrorBody::new(ErrorCode::UnsupportedMediaType, self.to_string())
            }
            Self::BodyTooLarge { max_bytes } => {
                ErrorBody::new(ErrorCode::PayloadTooLarge, self.to_string()).with(|context| {
                    context.limit = Some("bodyBytes".to_owned());
                    context.limit_value = Some(*max_bytes);
                })
            }
            Self::BodyBroken { .. } => {
                ErrorBody::new(ErrorCode::ValidationFailed, self.to_string())
            }
            Self::Parameter { name, rule } => invalid(name, rule),
            Self::OutsideWorkspace { path } => {
                ErrorBody::new(ErrorCode::PermissionDenied, self.to_string())
                    .with(|context| context.path = Some(path.clone()))
            }
            Self::NotAFile { path, .. } => {
                ErrorBody::new(ErrorCode::ValidationFailed, self.to_string())
                    .with(|context| context.path = Some(path.clone()))
            }
            Self::File { path, cause } => {
                ErrorBody::new(file_code(cause), self.to_string()).with(|context| {
                    context.path = Some(path.clone());
                    context.errno = errno::name(cause).map(str::to_owned);
                })
            }
            Self::Archive { written, .. } => {
                ErrorBody::new(ErrorCode::ValidationFailed, self.to_string())
                    .with(|context| context.written_members = Some(*written))
            }
            Self::Member {
                path,
                written,
                reason,
            } => ErrorBody::new(reason.code(), self.to_string()).with(|context| {
                context.path = Some(path.clone());
                context.written_members = Some(*written);
                context.errno = reason.errno().map(str::to_owned);
            }),
            Self::Internal { .. } => ErrorBody::new(
                ErrorCode::InternalError,
                "the supervisor failed; its log has the detail",
            ),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wire(body) => body.fmt(f),
            Self::Unauthorized => f.write_str("the supervisor's token is missing or wrong"),
            Self::RouteNotFound { path } => write!(f, "there is no route {path}"),
            Self::MethodNotAllowed { allow } => {
                write!(f, "this route has only {}", allow.join(", "))
            }
            Self::MediaType { expected } => write!(f, "the body must be {expected}"),
            Self::BodyTooLarge { max_bytes } => {
                write!(f, "the body is larger than {max_bytes} bytes")
            }
            Self::BodyBroken { detail } => write!(f, "the body ended before its time: {detail}"),
            Self::Parameter { name, rule } => write!(f, "{name}: {rule}"),
            Self::OutsideWorkspace { path } => write!(f, "{path} is not under /workspace"),
            Self::NotAFile { path, rule } => write!(f, "{path} {rule}"),
            Self::File { path, cause } => write!(f, "{path}: {}", errno::sentence(cause)),
            Self::Archive { rule, written } => {
                write!(f, "the archive {rule}; {written} members had been written")
            }
            Self::Member {
                path,
                written,
                reason,
            } => write!(
                f,
                "the archive's member {path} {reason}; {written} members had been written"
            ),
            Self::Internal { doing, cause } => write!(f, "{doing}: {cause}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Wire(body) => Some(body.as_ref()),
            Self::Internal { cause, .. } | Self::File { cause, .. } => Some(cause),
            _ => None,
        }
    }
}

impl From<ErrorBody> for Error {
    fn from(body: ErrorBody) -> Self {
        Self::Wire(Box::new(body))
    }
}
