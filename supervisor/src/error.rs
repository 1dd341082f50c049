//! What can go wrong in the supervisor, and which code of the wire it is.

use std::fmt;
use std::io;

use sandbox_protocol::error::{ErrorBody, ErrorCode};
use sandbox_protocol::request::invalid;

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
            Self::Internal { doing, cause } => write!(f, "{doing}: {cause}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Wire(body) => Some(body.as_ref()),
            Self::Internal { cause, .. } => Some(cause),
            _ => None,
        }
    }
}

impl From<ErrorBody> for Error {
    fn from(body: ErrorBody) -> Self {
        Self::Wire(Box::new(body))
    }
}
