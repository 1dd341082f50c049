//! `GET /processes/{process}/kept`: a piece of the ledger for the object to keep.

use axum::Router;
use axum::extract::{Path, State as Shared};
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use sandbox_protocol::log::{From, LogQuery, Selection};
use sandbox_protocol::routes::{KEPT, KEPT_END, KEPT_FROM, KEPT_TO};
use serde::Deserialize;

use super::State;
use super::processes::named;
use super::query::Query;
use crate::error::Error;

pub(super) fn routes() -> Router<State> {
    Router::new().route(&format!("/processes/{{process}}/{KEPT}"), get(kept))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct KeptQuery {
    since: Option<String>,
    max_bytes: Option<String>,
    newest: Option<String>,
}

async fn kept(
    Shared(state): Shared<State>,
    Path(id): Path<String>,
    Query(query): Query<KeptQuery>,
) -> Result<Response, Error> {
    let process = named(&state, &id)?;
    let max_bytes = number("maxBytes", query.max_bytes.as_deref())?;
    let newest = number("newest", query.newest.as_deref())?;
    let since = LogQuery {
        since: query.since,
        ..LogQuery::default()
    };
    let from: From = since.validate(None, None)?.from;
    let ledger = process.ledger();
    let reader = ledger.reader(&from, Selection::Both)?;
    let piece = ledger
        .piece(reader, newest, max_bytes.unwrap_or(u64::MAX))
        .await
        .map_err(Error::internal("compressing a piece of a log"))?;
    let header = |name: &str, cursor: &sandbox_protocol::cursor::Cursor| {
        let value = HeaderValue::from_str(&cursor.to_string());
        let value = value.expect("a cursor is letters, digits and points");
        (
            HeaderName::from_bytes(name.as_bytes()).expect("the protocol names headers"),
            value,
        )
    };
    let headers = [
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/gzip"),
        ),
        header(KEPT_FROM, &piece.from),
        header(KEPT_TO, &piece.to),
        header(KEPT_END, &piece.end),
    ];
    Ok((headers, piece.gzip).into_response())
}

fn number(name: &'static str, text: Option<&str>) -> Result<Option<u64>, Error> {
    let number = text.map(str::parse).transpose();
    number.map_err(|_| Error::Parameter {
        name,
        rule: "is a number of bytes".to_owned(),
    })
}
