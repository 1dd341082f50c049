//! Query strings as types: what cannot be read is refused with our own error.

use axum::extract::{FromRequestParts, Query as Parsed};
use axum::http::request::Parts;
use sandbox_protocol::request::parse_query;
use serde::de::DeserializeOwned;

use crate::error::Error;

/// The query string as `T`.
#[derive(Debug)]
pub(super) struct Query<T>(pub(super) T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        let pairs = Parsed::<Vec<(String, String)>>::try_from_uri(&parts.uri);
        let Parsed(pairs) = pairs.map_err(|error| Error::Parameter {
            name: "query",
            rule: error.body_text(),
        })?;
        Ok(Self(parse_query(pairs)?))
    }
}
