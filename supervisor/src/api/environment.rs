//! `PUT /environment`: the sandbox's variables, under everything started from now on.

use axum::extract::State as Shared;
use axum::routing::put;
use axum::{Json, Router};
use sandbox_protocol::process::{Environment, check_environment};
use sandbox_protocol::routes::ENVIRONMENT;
use sandbox_protocol::sandbox::Done;

use super::{Body, State};
use crate::error::Error;

pub(super) fn routes() -> Router<State> {
    Router::new().route(ENVIRONMENT, put(replace))
}

async fn replace(
    Shared(state): Shared<State>,
    Body(environment): Body<Environment>,
) -> Result<Json<Done>, Error> {
    check_environment("env", &environment)?;
    state.variables.replace(environment);
    Ok(Json(Done { ok: true }))
}
