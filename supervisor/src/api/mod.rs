//! The API over HTTP: a file per resource, one check of the token, one way from an error to a response.

mod environment;
mod exec;
mod files;
mod health;
mod kept;
mod limits;
mod logs;
mod ports;
mod processes;
mod pty;
mod query;
mod wait;
mod workspace;

use std::io;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State as Shared};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};

use crate::activity::{Calls, count};
use crate::boot::BootId;
use crate::config::Config;
use crate::drain::drain;
use crate::environment::Variables;
use crate::error::Error;
use crate::files::Files;
use crate::json::{Body, BodyOrDefault};
use crate::logs::{Caps, Store};
use crate::process::spawn::Spawner;
use crate::process::table::Table;
use crate::response;
use crate::rights::Rights;

/// What every route can reach. A cheap clone.
#[derive(Clone, Debug)]
pub struct State {
    /// How the supervisor was told to run.
    pub config: Arc<Config>,
    /// This boot.
    pub boot: BootId,
    /// The variables under everything that is started.
    pub variables: Variables,
    /// What runs and ran.
    pub table: Table,
    /// What it printed.
    pub store: Store,
    /// The workspace.
    pub files: Files,
    /// What keeps the sandbox awake.
    pub calls: Calls,
}

impl State {
    /// The state of a boot that begins. An error if the folder of the logs cannot be made.
    pub fn new(config: Config, spawner: Spawner) -> io::Result<Self> {
        let rights = Rights::of(config.sandbox_user.as_ref());
        let config = Arc::new(config);
        let variables = Variables::new(config.environment.clone());
        let caps = Caps {
            total_bytes: config.limits.all_log_bytes,
            memory_bytes: config.limits.log_memory_bytes,
            followers: config.limits.subscribers,
        };
        let store = Store::new(config.state_dir.join("logs"), caps)?;
        Ok(Self {
            files: Files::new(config.workspace.clone(), rights),
            boot: config.boot.clone(),
            table: Table::new(spawner, store.clone(), config.clone(), variables.clone()),
            store,
            variables,
            config,
            calls: Calls::default(),
        })
    }

    /// Ends every process, then every log: each stream has its true last event by then.
    pub async fn end(&self) {
        let receipt = self.table.shutdown().await;
        if !receipt.survivors.is_empty() {
            eprintln!("supervisor: live on: {:?}", receipt.survivors);
        }
        self.store.close();
    }
}

/// Every route, behind the token.
pub fn router(state: State) -> Router {
    let routes = Router::new()
        .merge(health::routes())
        .merge(environment::routes())
        .merge(limits::routes())
        .merge(processes::routes())
        .merge(logs::routes())
        .merge(kept::routes())
        .merge(wait::routes())
        .merge(exec::routes())
        .merge(files::routes())
        .merge(workspace::routes())
        .merge(ports::routes())
        .merge(pty::routes())
        .fallback(response::no_route)
        .with_state(state.clone());
    // The check wraps the routes as a whole, so that no path, known or not, answers without the token, and
    // so that `Allow` is already set when a 405 passes.
    Router::new()
        .fallback_service(routes)
        .layer(middleware::from_fn_with_state(state.calls.clone(), count))
        .layer(middleware::from_fn_with_state(state, guard))
        .layer(middleware::from_fn(drain))
}

async fn guard(Shared(state): Shared<State>, request: Request, next: Next) -> Response {
    let shown = request.headers().get(header::AUTHORIZATION);
    let token = shown.and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    if !token.is_some_and(|token| state.config.token.is(token)) {
        return Error::Unauthorized.into_response();
    }
    let response = next.run(request).await;
    if response.status() == StatusCode::METHOD_NOT_ALLOWED {
        return response::method_not_allowed(&response);
    }
    response
}
