//! `POST /processes/{process}/wait`: until a process is ready, or cannot be.

use std::convert::Infallible;
use std::pin::Pin;
use std::time::Duration;

use axum::body::Body as RawBody;
use axum::extract::{Path, State as Shared};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use bytes::Bytes;
use futures_util::stream::unfold;
use sandbox_protocol::log::Format;
use sandbox_protocol::ready::{ConditionRequest, Met};
use sandbox_protocol::sse::HEARTBEAT;
use serde::Serialize;

use super::logs::stream_headers;
use super::processes::named;
use super::{Body, State};
use crate::error::Error;
use crate::ready;

pub(super) fn routes() -> Router<State> {
    Router::new().route("/processes/{process}/wait", post(wait))
}

async fn wait(
    Shared(state): Shared<State>,
    Path(id): Path<String>,
    headers: HeaderMap,
    Body(request): Body<ConditionRequest>,
) -> Result<Response, Error> {
    let process = named(&state, &id)?;
    let (condition, timeout_ms) = request.validate_wait()?;
    // Before the first byte of a stream, so that it is a status and not an event.
    ready::check(&condition, "")?;
    let heartbeat = state.config.heartbeat;
    let waiting = async move {
        let limit = Duration::from_millis(timeout_ms);
        ready::wait(&state.table, &process, &condition, limit).await
    };
    let accept = headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok());
    match Format::negotiate(accept, Format::Json) {
        Format::EventStream => Ok(events(waiting, heartbeat)),
        _ => Ok(Json(waiting.await?).into_response()),
    }
}

type Waiting = Pin<Box<dyn Future<Output = Result<Met, Error>> + Send>>;

/// The answer as one event, after a comment at every heartbeat.
fn events(
    waiting: impl Future<Output = Result<Met, Error>> + Send + 'static,
    heartbeat: Duration,
) -> Response {
    let waiting: Waiting = Box::pin(waiting);
    let frames = unfold(Some(waiting), move |waiting| async move {
        let mut waiting = waiting?;
        let (frame, rest) = match tokio::time::timeout(heartbeat, &mut waiting).await {
            Err(_) => (Bytes::from_static(HEARTBEAT), Some(waiting)),
            Ok(Ok(met)) => (event("met", &met), None),
            Ok(Err(error)) => (event("error", &error.body()), None),
        };
        Some((Ok::<_, Infallible>(frame), rest))
    });
    let body = RawBody::from_stream(frames);
    (stream_headers(Format::EventStream), body).into_response()
}

fn event(name: &str, data: &impl Serialize) -> Bytes {
    let json = serde_json::to_string(data).expect("an answer is plain data");
    format!("event: {name}\ndata: {json}\n\n").into()
}
