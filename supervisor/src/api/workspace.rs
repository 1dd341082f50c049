//! `POST …/hydrate` and `POST …/persist`: the workspace as a tar stream.

use axum::body::Body;
use axum::extract::State as Shared;
use axum::response::Response;
use axum::routing::post;
use axum::{Json, Router};
use sandbox_protocol::file::PersistQuery;
use sandbox_protocol::sandbox::Done;

use super::State;
use super::files::download;
use super::query::Query;
use crate::archive::{self, Excludes};
use crate::error::Error;

pub(super) fn routes() -> Router<State> {
    Router::new()
        .route("/hydrate", post(hydrate))
        .route("/persist", post(persist))
}

async fn hydrate(Shared(state): Shared<State>, body: Body) -> Result<Json<Done>, Error> {
    archive::hydrate(&state.files, body).await?;
    Ok(Json(Done { ok: true }))
}

async fn persist(
    Shared(state): Shared<State>,
    Query(query): Query<PersistQuery>,
) -> Result<Response, Error> {
    let excludes = Excludes::parse(query.excludes.as_deref().unwrap_or_default());
    let body = archive::persist(&state.files, excludes).await?;
    Ok(download("application/x-tar", body))
}
