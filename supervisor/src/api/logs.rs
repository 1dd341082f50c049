//! `GET /processes/{process}/logs`: what a process printed, and what it prints.

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State as Shared};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use sandbox_protocol::log::{Format, From, LogQuery, LogRequest};

use super::State;
use super::processes::named;
use super::query::Query;
use crate::error::Error;
use crate::logs::{Form, Ledger, snapshot, stream};

/// Tells a proxy that every event is to be passed on as it comes.
const NO_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

pub(super) fn routes() -> Router<State> {
    Router::new().route("/processes/{process}/logs", get(logs))
}

async fn logs(
    Shared(state): Shared<State>,
    Path(id): Path<String>,
    Query(query): Query<LogQuery>,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let process = named(&state, &id)?;
    // One that is no text is no cursor either, and must not pass for none at all.
    let text = |name| {
        let value: Option<&HeaderValue> = headers.get(name);
        value.map(|value| String::from_utf8_lossy(value.as_bytes()))
    };
    let (last, accept) = (text(LAST_EVENT_ID), text(header::ACCEPT));
    let request = query.validate(last.as_deref(), accept.as_deref())?;
    answer(process.ledger(), &request, state.config.heartbeat).await
}

async fn answer(
    ledger: &Ledger,
    request: &LogRequest,
    heartbeat: std::time::Duration,
) -> Result<Response, Error> {
    let reader = ledger.reader(&request.from, request.stream)?;
    let resumes = matches!(request.from, From::After(_));
    if request.follow && resumes && reader.is_spent() {
        // There is nothing to come, and an `EventSource` stops only when it is told so.
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let follower = request.follow.then(|| ledger.follower()).transpose()?;
    let form = match request.format {
        Format::EventStream => Form::EventStream,
        Format::Ndjson => Form::Ndjson,
        Format::Plain => Form::Plain {
            timestamps: request.timestamps,
        },
        Format::Json => {
            if follower.is_some() {
                // One object cannot be followed; it is written when it is complete.
                ledger.closed().await;
            }
            let body = Body::from_stream(snapshot(reader).await);
            return Ok((stream_headers(request.format), body).into_response());
        }
    };
    let reader = if request.follow {
        reader
    } else {
        reader.until_now()
    };
    let body = Body::from_stream(stream(reader, form, follower, heartbeat));
    Ok((stream_headers(request.format), body).into_response())
}

/// The headers of an answer that is passed on as it comes and kept by nobody.
pub(super) fn stream_headers(format: Format) -> [(HeaderName, HeaderValue); 3] {
    let no_cache = HeaderValue::from_static("no-cache");
    let media_type = HeaderValue::from_static(format.media_type());
    [
        (header::CONTENT_TYPE, media_type),
        (header::CACHE_CONTROL, no_cache),
        (NO_BUFFERING, HeaderValue::from_static("no")),
    ]
}
