//! What the end of a scope can fail with.

use std::fmt;

use super::Error;

/// How a scope failed. Neither the outcome of the work nor that of the destroy is lost. `?` turns it into an
/// [`Error`] (without the value of a work that succeeded) or into a [`worker::Error`].
#[derive(Debug)]
pub enum ScopeError<T> {
    /// The scope could not be opened, and the work was not begun.
    NotOpened(Error),
    /// The work failed; the sandbox is destroyed.
    Work(Error),
    /// The work succeeded with `value`, but the sandbox is not known to be destroyed. Its object goes on with that.
    Undestroyed {
        /// What the work gave.
        value: T,
        /// Why.
        destroy: Error,
    },
    /// The work failed, and then the destroy did. The object goes on with it.
    Both {
        /// How the work failed.
        work: Error,
        /// How the destroy failed.
        destroy: Error,
    },
}

impl<T> From<ScopeError<T>> for Error {
    fn from(error: ScopeError<T>) -> Self {
        let (work, destroy) = match error {
            ScopeError::NotOpened(error) | ScopeError::Work(error) => return error,
            ScopeError::Undestroyed { destroy, .. } => (None, destroy),
            ScopeError::Both { work, destroy } => (Some(Box::new(work)), destroy),
        };
        Self::Undestroyed {
            work,
            destroy: Box::new(destroy),
        }
    }
}

impl<T> From<ScopeError<T>> for worker::Error {
    fn from(error: ScopeError<T>) -> Self {
        Error::from(error).into()
    }
}

impl<T> fmt::Display for ScopeError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOpened(error) => write!(f, "the scope could not be opened: {error}"),
            Self::Work(error) => error.fmt(f),
            Self::Undestroyed { destroy, .. } => {
                write!(f, "the sandbox could not be destroyed: {destroy}")
            }
            Self::Both { work, destroy } => {
                write!(
                    f,
                    "{work}; and the sandbox could not be destroyed: {destroy}"
                )
            }
        }
    }
}

impl<T: fmt::Debug> std::error::Error for ScopeError<T> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::NotOpened(error) | Self::Work(error) => Some(error),
            Self::Undestroyed { destroy, .. } => Some(destroy),
            Self::Both { work, .. } => Some(work),
        }
    }
}

#[cfg(test)]
mod tests {
    use sandbox_protocol::error::{ErrorBody, ErrorCode};

    use super::{Error, ScopeError};

    fn refused(code: ErrorCode) -> Error {
        ErrorBody::new(code, "refused").into()
    }

    #[test]
    fn an_error_of_the_work_comes_first_and_one_of_the_destroy_is_told_too() {
        let both = ScopeError::<()>::Both {
            work: refused(ErrorCode::ProcessNotFound),
            destroy: refused(ErrorCode::ContainerUnavailable),
        };
        let error = Error::from(both);
        assert_eq!(error.code(), Some(ErrorCode::ProcessNotFound));
        let text = error.to_string();
        assert!(text.contains("PROCESS_NOT_FOUND"), "{text}");
        assert!(text.contains("CONTAINER_UNAVAILABLE"), "{text}");
        let undestroyed = ScopeError::Undestroyed {
            value: 1,
            destroy: refused(ErrorCode::ContainerUnavailable),
        };
        let code = Error::from(undestroyed).code();
        assert_eq!(code, Some(ErrorCode::ContainerUnavailable));
        let work = ScopeError::<()>::Work(refused(ErrorCode::ProcessNotFound));
        assert!(matches!(Error::from(work), Error::Refused(_)));
    }
}
