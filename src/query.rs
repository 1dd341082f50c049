//! The query of a request.

use sandbox_protocol::request::parse_query;
use serde::de::DeserializeOwned;
use worker::{Request, Url};

use crate::error::{Result, internal};

/// What the query of `request` says. The error is `VALIDATION_FAILED` with the parameter.
pub(crate) fn query_of<T: DeserializeOwned>(request: &Request) -> Result<T> {
    read(&url_of(request)?)
}

/// What the query of `url` says, as in [`query_of`].
pub(crate) fn read<T: DeserializeOwned>(url: &Url) -> Result<T> {
    let pairs = url.query_pairs();
    parse_query(pairs.map(|(name, value)| (name.into_owned(), value.into_owned())))
}

/// The URL of `request`.
pub(crate) fn url_of(request: &Request) -> Result<Url> {
    let url = request.url();
    url.map_err(|error| internal("the URL could not be read", error))
}
