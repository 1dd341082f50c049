//! `/processes`: start, list, look at, kill and forget processes, and feed them.

use std::time::Duration;

use axum::body::Body as RawBody;
use axum::extract::{Path, State as Shared};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use http_body_util::BodyExt;
use sandbox_protocol::id::{PROCESS_ID_RULE, ProcessId};
use sandbox_protocol::log::flag;
use sandbox_protocol::process::{
    KillAllReceipt, KillReceipt, KillRequest, Process, ProcessList, ProcessQuery, ProcessRequest,
    Stats, StdinQuery, StdinReceipt,
};

use super::query::Query;
use super::{Body, BodyOrDefault, State};
use crate::error::Error;
use crate::process;
use crate::ready;

pub(super) fn routes() -> Router<State> {
    Router::new()
        .route("/processes", post(start).get(list).delete(kill_all))
        .route("/processes/{process}", get(look).delete(forget))
        .route("/processes/{process}/kill", post(kill))
        .route("/processes/{process}/stdin", post(write))
        .route("/processes/{process}/stats", get(stats))
}

/// The process that a path names. `VALIDATION_FAILED` for what is no name, `PROCESS_NOT_FOUND`.
pub(super) fn named(state: &State, id: &str) -> Result<process::Process, Error> {
    if ProcessId::parse(id).is_none() {
        return Err(Error::Parameter {
            name: "process",
            rule: PROCESS_ID_RULE.to_owned(),
        });
    }
    state.table.get(id)
}

async fn start(
    Shared(state): Shared<State>,
    Body(request): Body<ProcessRequest>,
) -> Result<(StatusCode, Json<Process>), Error> {
    let spec = request.validate()?;
    let ready = spec.ready.clone();
    let limit = Duration::from_millis(spec.ready_timeout_ms);
    let (process, created) = state.table.start(spec).await?;
    if let Some(condition) = ready {
        // Whatever comes of it, the process stays, for the caller to inspect.
        ready::wait(&state.table, &process, &condition, limit).await?;
    }
    let status = if created {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok((status, Json(process.view())))
}

async fn list(
    Shared(state): Shared<State>,
    Query(query): Query<ProcessQuery>,
) -> Result<Json<ProcessList>, Error> {
    let wanted = query.wanted()?;
    let with_stats = flag("stats", query.stats.as_deref())?;
    let mut processes = Vec::new();
    for process in state.table.list() {
        if wanted.is_some_and(|wanted| process.status() != wanted) {
            continue;
        }
        let mut view = process.view();
        if with_stats {
            view.stats = Some(process.stats().await);
        }
        processes.push(view);
    }
    Ok(Json(ProcessList { processes }))
}

async fn look(
    Shared(state): Shared<State>,
    Path(id): Path<String>,
) -> Result<Json<Process>, Error> {
    Ok(Json(named(&state, &id)?.view()))
}

async fn kill(
    Shared(state): Shared<State>,
    Path(id): Path<String>,
    BodyOrDefault(request): BodyOrDefault<KillRequest>,
) -> Result<Json<KillReceipt>, Error> {
    let process = named(&state, &id)?;
    Ok(Json(process.kill(request.validate()?).await?))
}

async fn forget(
    Shared(state): Shared<State>,
    Path(id): Path<String>,
) -> Result<Json<KillReceipt>, Error> {
    named(&state, &id)?;
    Ok(Json(state.table.delete(&id).await?))
}

async fn kill_all(Shared(state): Shared<State>) -> Json<KillAllReceipt> {
    Json(state.table.kill_all().await)
}

async fn stats(Shared(state): Shared<State>, Path(id): Path<String>) -> Result<Json<Stats>, Error> {
    Ok(Json(named(&state, &id)?.stats().await))
}

async fn write(
    Shared(state): Shared<State>,
    Path(id): Path<String>,
    Query(query): Query<StdinQuery>,
    mut body: RawBody,
) -> Result<Json<StdinReceipt>, Error> {
    let process = named(&state, &id)?;
    let eof = flag("eof", query.eof.as_deref())?;
    process.check_stdin().await?;
    let mut written_bytes = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Error::BodyBroken {
            detail: error.to_string(),
        })?;
        if let Ok(bytes) = frame.into_data() {
            process.write_stdin(&bytes).await?;
            written_bytes += bytes.len() as u64;
        }
    }
    if eof {
        process.close_stdin().await;
    }
    Ok(Json(StdinReceipt { written_bytes }))
}
