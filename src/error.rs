//! Errors on this side: the protocol's body, and its one conversion to a response.

use sandbox_protocol::error::{ErrorBody, ErrorCode};
use worker::{Response, ResponseBuilder, console_error};

/// What a call of this crate ends with when it does not succeed.
pub(crate) type Result<T, E = ErrorBody> = std::result::Result<T, E>;

/// An error of the platform or of our own making: the detail goes to the log, never to the client.
pub(crate) fn internal(what: &str, detail: impl std::fmt::Display) -> ErrorBody {
    console_error!("{what}: {detail}");
    ErrorBody::new(
        ErrorCode::InternalError,
        format!("{what}; the Worker's log has the detail"),
    )
}

/// The reason of what the platform refuses with words that are not known here.
pub(crate) const UNKNOWN: &str = "unknown";

/// The container cannot be had now, for `reason`.
pub(crate) fn unavailable(reason: &str, error: impl Into<String>) -> ErrorBody {
    ErrorBody::new(ErrorCode::ContainerUnavailable, error).with(|context| {
        context.reason = Some(reason.to_owned());
        context.retryable = Some(true);
    })
}

/// The answer that carries `error`: the one place where an error becomes a response.
pub(crate) fn response(error: &ErrorBody) -> worker::Result<Response> {
    let mut builder = ResponseBuilder::new().with_status(error.code.status());
    if error.code == ErrorCode::ContainerUnavailable {
        let reason = error.context.reason.as_deref().unwrap_or_default();
        let seconds = retry_after_s(reason).to_string();
        builder = builder.with_header("Retry-After", &seconds)?;
    }
    if let Some(allow) = &error.context.allow {
        builder = builder.with_header("Allow", &allow.join(", "))?;
    }
    builder.from_json(error)
}

/// After how many seconds a client may try again what was refused for `reason`.
pub(crate) fn retry_after_s(reason: &str) -> u32 {
    match reason {
        "noInstance" | "maxInstances" | "rateLimited" => 10,
        UNKNOWN => 5,
        _ => 3,
    }
}
