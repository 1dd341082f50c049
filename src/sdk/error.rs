//! What a call of the library can fail with.

use std::fmt;

use sandbox_protocol::error::{ErrorBody, ErrorCode};

/// Why a call failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The sandbox refused, with one of the protocol's codes.
    Refused(Box<ErrorBody>),
    /// The platform failed on the way.
    Platform(worker::Error),
    /// The stream was cut and could not be taken up again.
    Cut(String),
}

impl Error {
    /// The protocol's code, if the sandbox refused.
    #[must_use]
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Refused(body) => Some(body.code),
            Self::Platform(_) | Self::Cut(_) => None,
        }
    }

    /// Whether what was asked for does not exist.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.code().is_some_and(|code| code.status() == 404)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(body) => body.fmt(f),
            Self::Platform(error) => error.fmt(f),
            Self::Cut(detail) => write!(f, "the stream was cut: {detail}"),
        }
    }
}

impl std::error::Error for Error {}

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
