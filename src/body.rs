//! Reading a request's body: bounded, of the right type, and checked before anything is started.

use futures::TryStreamExt;
use sandbox_protocol::error::{ErrorBody, ErrorCode};
use sandbox_protocol::request::{
    MAX_DRAIN_MS, MAX_DRAIN_PAUSE_MS, MAX_DRAINED_BYTES, MAX_JSON_BYTES, parse_json,
};
use serde::de::DeserializeOwned;
use worker::web_sys::ReadableStream;
use worker::{ByteStream, Request, Response, ResponseBody};

use crate::error::{Result, internal, response};
use crate::platform::{now, within};

/// The JSON body of `request` as text, with what it says. An empty body says nothing but defaults,
/// where `T` has them. Errors: 415, 413, and 400 naming the field.
pub(crate) async fn json<T: DeserializeOwned>(request: &mut Request) -> Result<(String, T)> {
    let text = text(request).await?;
    let said = if text.trim().is_empty() { "{}" } else { &text };
    let value = parse_json(said.as_bytes())?;
    Ok((text, value))
}

/// The JSON body of `request` as text; empty if there is none.
pub(crate) async fn text(request: &mut Request) -> Result<String> {
    let header = |name: &str| request.headers().get(name).ok().flatten();
    let kind = header("Content-Type").unwrap_or_default();
    let length: Option<u64> = header("Content-Length").and_then(|length| length.parse().ok());
    if request.inner().body().is_none() || length == Some(0) {
        return Ok(String::new());
    }
    // Only a page that was let in by CORS can send this type across origins.
    let essence = kind.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/json") {
        return Err(ErrorBody::new(
            ErrorCode::UnsupportedMediaType,
            "the body must be JSON, sent with Content-Type: application/json",
        ));
    }
    if length.is_some_and(|length| length > MAX_JSON_BYTES) {
        return Err(too_large());
    }
    let failed = |error: worker::Error| internal("the body could not be read", error);
    let mut chunks = request.stream().map_err(failed)?;
    let mut bytes = Vec::new();
    while let Some(chunk) = chunks.try_next().await.map_err(failed)? {
        bytes.extend(chunk);
        if bytes.len() as u64 > MAX_JSON_BYTES {
            drain(&mut chunks, MAX_DRAINED_BYTES).await;
            return Err(too_large());
        }
    }
    String::from_utf8(bytes)
        .map_err(|_| ErrorBody::new(ErrorCode::ValidationFailed, "the body is not UTF-8"))
}

/// What `answered` makes of a request with `body`. A refusal waits for what it left of that, unless somebody else
/// reads it or has read it.
pub(crate) async fn settle(
    answered: Result<Response>,
    body: Option<ReadableStream>,
) -> worker::Result<Response> {
    let error = match answered {
        Ok(answer) => return Ok(answer),
        Err(error) => error,
    };
    if let Some(body) = body.filter(|body| !body.locked()) {
        let rest = Response::from_body(ResponseBody::Stream(body));
        if let Ok(mut chunks) = rest.and_then(|mut rest| rest.stream()) {
            drain(&mut chunks, drained_bytes(error.code)).await;
        }
    }
    response(&error)
}

/// How much is read of a body that was refused with `code`: little for those who may not call at all.
fn drained_bytes(code: ErrorCode) -> u64 {
    match code {
        ErrorCode::Unauthorized | ErrorCode::OriginNotAllowed | ErrorCode::ApiKeyMissing => {
            MAX_JSON_BYTES
        }
        _ => MAX_DRAINED_BYTES,
    }
}

/// Reads what is left of a body and drops it, up to `max_bytes` and [`MAX_DRAIN_MS`].
async fn drain(chunks: &mut ByteStream, max_bytes: u64) {
    let deadline = now().plus_ms(MAX_DRAIN_MS);
    let mut length = 0;
    // A client that breaks off does not wait for the answer.
    while let Some(Ok(Some(chunk))) = within(MAX_DRAIN_PAUSE_MS, chunks.try_next()).await {
        length += chunk.len() as u64;
        if length > max_bytes || now() > deadline {
            return;
        }
    }
}

fn too_large() -> ErrorBody {
    let message = format!("a JSON body has at most {MAX_JSON_BYTES} bytes");
    ErrorBody::new(ErrorCode::PayloadTooLarge, message).with(|context| {
        context.limit = Some("jsonBytes".to_owned());
        context.limit_value = Some(MAX_JSON_BYTES);
    })
}
