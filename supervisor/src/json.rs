//! JSON bodies: read whole within a limit, and refused with the field's name.

use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use sandbox_protocol::request::{MAX_JSON_BYTES, parse_json};
use serde::de::DeserializeOwned;

use crate::error::Error;

/// The body as `T`: 415 for another media type, 413 beyond [`MAX_JSON_BYTES`], 400 naming the field.
#[derive(Debug)]
pub(crate) struct Body<T>(pub(crate) T);

/// The same for a body that may be absent: nothing sent is the default, whatever the media type.
#[derive(Debug)]
pub(crate) struct BodyOrDefault<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Sync> FromRequest<S> for Body<T> {
    type Rejection = Error;

    async fn from_request(request: Request, _: &S) -> Result<Self, Error> {
        check_media_type(request.headers())?;
        Ok(Self(parse_json(&read(request).await?)?))
    }
}

impl<T: DeserializeOwned + Default, S: Sync> FromRequest<S> for BodyOrDefault<T> {
    type Rejection = Error;

    async fn from_request(request: Request, _: &S) -> Result<Self, Error> {
        let media_type = check_media_type(request.headers());
        let bytes = read(request).await?;
        if bytes.is_empty() {
            return Ok(Self(T::default()));
        }
        media_type?;
        Ok(Self(parse_json(&bytes)?))
    }
}

fn check_media_type(headers: &HeaderMap) -> Result<(), Error> {
    let value = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let essence = value.unwrap_or_default().split(';').next();
    if essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json")) {
        return Ok(());
    }
    Err(Error::MediaType {
        expected: "application/json",
    })
}

async fn read(request: Request) -> Result<Bytes, Error> {
    let max_bytes = usize::try_from(MAX_JSON_BYTES).unwrap_or(usize::MAX);
    let collected = Limited::new(request.into_body(), max_bytes).collect().await;
    collected
        .map(http_body_util::Collected::to_bytes)
        .map_err(|error| {
            if error.is::<LengthLimitError>() {
                return Error::BodyTooLarge {
                    max_bytes: MAX_JSON_BYTES,
                };
            }
            Error::BodyBroken {
                detail: error.to_string(),
            }
        })
}
