//! What a call of the library can fail with.

use std::fmt;

use sandbox_protocol::error::{ErrorBody, ErrorCode};

/// Why a call failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The sandbox refused, with one of the protocol's codes and the facts behind it.
    Refused(Box<ErrorBody>),
    /// The platform failed on the way; what became of the call is not known.
    Platform(worker::Error),
    /// The answer is not one of the protocol: the object is of another version, or something in between answered.
    Unexpected {
        /// Its status.
        status: u16,
        /// What is wrong with it.
        detail: String,
    },
    /// A stream was cut and could not be taken up again within a minute.
    Cut {
        /// Whose stream: a path below the sandbox.
        path: String,
        /// What the last try met.
        last: Box<Error>,
    },
    /// The work of a [scope](super::SandboxHandle::scoped) is over, and the sandbox could not be destroyed. Its
    /// object goes on with that.
    Undestroyed {
        /// How the work failed, if it did.
        work: Option<Box<Error>>,
        /// Why the sandbox is not known to be destroyed.
        destroy: Box<Error>,
    },
}

impl Error {
    /// The protocol's code, if the sandbox refused. Of a scope whose work failed, that of the work.
    #[must_use]
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Refused(body) => Some(body.code),
            Self::Platform(_) | Self::Unexpected { .. } => None,
            Self::Cut { last, .. } => last.code(),
            Self::Undestroyed { work, destroy } => work.as_ref().unwrap_or(destroy).code(),
        }
    }

    /// Whether what was asked for does not exist.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.code().is_some_and(|code| code.status() == 404)
    }

    /// Whether the same call may succeed a moment later.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Refused(body) => body.code.status() >= 500,
            Self::Platform(_) => true,
            Self::Unexpected { status, .. } => *status >= 500,
            Self::Cut { .. } | Self::Undestroyed { .. } => false,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(body) => body.fmt(f),
            Self::Platform(error) => error.fmt(f),
            Self::Unexpected { status, detail } => {
                write!(f, "an unexpected answer, status {status}: {detail}")
            }
            Self::Cut { path, last } => {
                write!(f, "the stream of {path} was cut and did not go on: {last}")
            }
            Self::Undestroyed { work, destroy } => {
                if let Some(work) = work {
                    write!(f, "{work}; and ")?;
                }
                write!(f, "the sandbox could not be destroyed: {destroy}")
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Refused(body) => Some(body),
            Self::Platform(error) => Some(error),
            Self::Unexpected { .. } => None,
            Self::Cut { last, .. } => Some(last),
            Self::Undestroyed { work, destroy } => Some(work.as_ref().unwrap_or(destroy)),
        }
    }
}

impl From<ErrorBody> for Error {
    fn from(body: ErrorBody) -> Self {
        Self::Refused(Box::new(body))
    }
}

impl From<worker::Error> for Error {
    fn from(error: worker::Error) -> Self {
        Self::Platform(error)
    }
}

impl From<Error> for worker::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Platform(error) => error,
            other => Self::RustError(other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use sandbox_protocol::error::{ErrorBody, ErrorCode};

    use super::Error;

    #[test]
    fn what_a_server_on_its_way_up_answers_may_pass_and_a_refusal_does_not() {
        let status = |status| Error::Unexpected {
            status,
            detail: String::new(),
        };
        let refused = |code| Error::from(ErrorBody::new(code, ""));
        assert!(status(503).may_pass());
        assert!(!status(200).may_pass());
        assert!(refused(ErrorCode::ContainerUnavailable).may_pass());
        assert!(!refused(ErrorCode::StaleCursor).may_pass());
    }
}
