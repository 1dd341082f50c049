//! The API over HTTP: a file per resource, one check of the token, one way from an error to a response.

mod body;
mod environment;
mod files;
mod health;
mod limits;
mod query;
mod workspace;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State as Shared};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use sandbox_protocol::error::ErrorCode;

use crate::boot::BootId;
use crate::config::Config;
use crate::environment::Variables;
use crate::error::Error;
use crate::files::Files;
use crate::rights::Rights;

#[allow(
    unused_imports,
    reason = "taken by the routes whose body may be absent"
)]
use body::{Body, BodyOrDefault};

/// What every route can reach. A cheap clone.
#[derive(Clone, Debug)]
pub struct State {
    /// How the supervisor was told to run.
    pub config: Arc<Config>,
    /// This boot.
    pub boot: BootId,
    /// The variables under everything that is started.
    pub variables: Variables,
    /// The workspace.
    pub files: Files,
}

impl State {
    /// The state of a boot that begins.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let rights = Rights::of(config.sandbox_user.as_ref());
        Self {
            files: Files::new(config.workspace.clone(), rights),
            boot: config.boot.clone(),
            variables: Variables::new(config.environment.clone()),
            config: Arc::new(config),
        }
    }
}

/// Every route, behind the token.
pub fn router(state: State) -> Router {
    let routes = Router::new()
        .merge(health::routes())
        .merge(environment::routes())
        .merge(limits::routes())
        .merge(files::routes())
        .merge(workspace::routes())
        .fallback(no_route)
        .with_state(state.clone());
    // The check wraps the routes as a whole, so that no path, known or not, answers without the token, and
    // so that `Allow` is already set when a 405 passes.
    Router::new()
        .fallback_service(routes)
        .layer(middleware::from_fn_with_state(state, guard))
}

async fn guard(Shared(state): Shared<State>, request: Request, next: Next) -> Response {
    let shown = request.headers().get(header::AUTHORIZATION);
    let token = shown.and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    if !token.is_some_and(|token| state.config.token.is(token)) {
        return Error::Unauthorized.into_response();
    }
    let response = next.run(request).await;
    if response.status() == StatusCode::METHOD_NOT_ALLOWED {
        return method_not_allowed(&response);
    }
    response
}

async fn no_route(request: Request) -> Error {
    Error::RouteNotFound {
        path: request.uri().path().to_owned(),
    }
}

/// Gives the body that every error has to a 405 of the router, which knows only the methods.
fn method_not_allowed(bare: &Response) -> Response {
    let allow = bare.headers().get(header::ALLOW).cloned();
    let methods = allow
        .as_ref()
        .and_then(|allow| allow.to_str().ok())
        .unwrap_or_default()
        .split(',')
        .map(str::to_owned)
        .collect();
    let mut response = Error::MethodNotAllowed { allow: methods }.into_response();
    if let Some(allow) = allow {
        response.headers_mut().insert(header::ALLOW, allow);
    }
    response
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let body = self.body();
        let status = StatusCode::from_u16(body.code.status())
            .expect("the table of the protocol has valid statuses only");
        if status.is_server_error() {
            eprintln!("supervisor: {} {self}", body.code.as_str());
        }
        let mut response = (status, axum::Json(&body)).into_response();
        if body.code == ErrorCode::ContainerUnavailable {
            let seconds = HeaderValue::from_static("3");
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
        }
        response
    }
}
