//! Query strings as types: what cannot be read is refused with our own error.

use axum::extract::{FromRequestParts, Query as Parsed};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use crate::error::Error;

/// The query string as `T`.
#[derive(Debug)]
pub(super) struct Query<T>(pub(super) T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        match Parsed::try_from_uri(&parts.uri) {
            Ok(Parsed(query)) => Ok(Self(query)),
            Err(error) => Err(Error::Parameter {
                name: "query",
                rule: error.body_text(),
            }),
        }
    }
}
