//! `GET /health`: that the supervisor is up, and which boot of it. `GET /activity`: what keeps the sandbox awake.

use axum::extract::State as Shared;
use axum::routing::get;
use axum::{Json, Router};
use sandbox_protocol::routes::{ACTIVITY, Activity, HEALTH, Health};

use super::State;

pub(super) fn routes() -> Router<State> {
    Router::new()
        .route(HEALTH, get(health))
        .route(ACTIVITY, get(activity))
}

async fn health(Shared(state): Shared<State>) -> Json<Health> {
    Json(Health {
        boot_id: state.boot.to_string(),
    })
}

async fn activity(Shared(state): Shared<State>) -> Json<Activity> {
    Json(state.calls.activity())
}
