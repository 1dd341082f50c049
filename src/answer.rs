//! Answers that are not errors, and what a request says of the answer that it wants.

use sandbox_protocol::log::Format;
use serde::Serialize;
use worker::web_sys::ReadableStream;
use worker::{Request, Response, ResponseBody, ResponseBuilder};

use crate::error::{Result, internal};

/// `value` as JSON.
pub(crate) fn json(value: &impl Serialize) -> Result<Response> {
    made(ResponseBuilder::new().from_json(value))
}

/// JSON that is text already.
pub(crate) fn json_text(text: &str, status: u16) -> Result<Response> {
    let answer = made(ResponseBuilder::new().with_status(status).ok(text))?;
    // The builder calls text plain, whatever header it was given before.
    made(answer.headers().set("Content-Type", "application/json"))?;
    Ok(answer)
}

/// The answer that says nothing.
pub(crate) fn nothing() -> Result<Response> {
    made(Response::empty()).map(|answer| answer.with_status(204))
}

/// A log in `format`, as it comes.
pub(crate) fn stream(body: ReadableStream, format: Format) -> Result<Response> {
    let builder = || {
        ResponseBuilder::new()
            .with_header("Content-Type", format.media_type())?
            .with_header("Cache-Control", "no-cache")?
            .with_header("X-Content-Type-Options", "nosniff")
    };
    Ok(made(builder())?.body(ResponseBody::Stream(body)))
}

/// What the platform made of an answer.
pub(crate) fn made<T>(answer: worker::Result<T>) -> Result<T> {
    answer.map_err(|error| internal("the answer could not be made", error))
}

/// Whether the `Prefer` header has `preference`.
pub(crate) fn prefers(request: &Request, preference: &str) -> bool {
    let header = request
        .headers()
        .get("Prefer")
        .ok()
        .flatten()
        .unwrap_or_default();
    header
        .split([',', ';'])
        .any(|part| part.trim().eq_ignore_ascii_case(preference))
}
