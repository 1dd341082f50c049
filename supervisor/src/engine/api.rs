//! The engine's routes, and who may use them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Path, Request, State as Shared};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, delete, get, post};
use axum::{Json, Router};
use sandbox_protocol::error::{ErrorBody, ErrorCode};
use sandbox_protocol::id::{SANDBOX_ID_RULE, SandboxId};
use sandbox_protocol::sandbox::Running;
use serde::Deserialize;

use super::sandboxes::Sandboxes;
use crate::config::Token;
use crate::drain::drain;
use crate::error::Error;
use crate::forward::forward;
use crate::json::Body;
use crate::response;

/// The header that carries the engine's secret.
const SECRET_HEADER: &str = "sandbox-engine-secret";

/// The header that tells an error of the engine from one that a supervisor answered.
const ERROR_HEADER: &str = "sandbox-engine-error";

/// The body of `POST /{id}/start`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct StartRequest {
    /// What the sandbox's supervisor is to demand.
    token: String,
    /// The variables of the container that this stands for.
    #[serde(default)]
    env: BTreeMap<String, String>,
}

/// Every route, for those who show `secret` and come from this machine.
pub(super) fn router(sandboxes: Sandboxes, secret: Token) -> Router {
    let routes = Router::new()
        .route("/{id}/start", post(start))
        .route("/{id}/status", get(status))
        .route("/{id}", delete(destroy))
        .route("/{id}/port/", any(port))
        .route("/{id}/port/{*path}", any(port))
        .fallback(response::no_route)
        .with_state(sandboxes);
    Router::new()
        .fallback_service(routes)
        .layer(middleware::from_fn_with_state(Arc::new(secret), guard))
        .layer(middleware::from_fn(drain))
}

async fn guard(Shared(secret): Shared<Arc<Token>>, mut request: Request, next: Next) -> Response {
    // A name that somebody made point here is not a loopback one: no page in a browser gets further.
    if !is_loopback(request.headers()) {
        let error = "the engine is for this machine only";
        let refused = ErrorBody::new(ErrorCode::PermissionDenied, error);
        return Error::from(refused).into_response();
    }
    let shown = request.headers_mut().remove(SECRET_HEADER);
    if !shown.is_some_and(|shown| secret.is(shown.as_bytes())) {
        let error = "the engine's secret is missing or wrong";
        let refused = ErrorBody::new(ErrorCode::Unauthorized, error);
        return Error::from(refused).into_response();
    }
    let forwarded = request.uri().path().split('/').nth(2) == Some("port");
    let answer = next.run(request).await;
    if answer.status() == StatusCode::METHOD_NOT_ALLOWED && !forwarded {
        return response::method_not_allowed(&answer);
    }
    answer
}

fn is_loopback(headers: &HeaderMap) -> bool {
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .and_then(|host| host.parse::<axum::http::uri::Authority>().ok());
    host.is_some_and(|host| {
        let name = host.host().trim_start_matches('[').trim_end_matches(']');
        name.eq_ignore_ascii_case("localhost")
            || name
                .parse::<IpAddr>()
                .is_ok_and(|address| address.is_loopback())
    })
}

async fn start(
    Shared(sandboxes): Shared<Sandboxes>,
    Path(id): Path<String>,
    Body(request): Body<StartRequest>,
) -> Result<Json<Running>, Error> {
    let token = Token::new("token", request.token)
        .map_err(|error| ErrorBody::new(ErrorCode::ValidationFailed, error.to_string()))?;
    sandboxes.start(parse(&id)?, token, request.env).await?;
    Ok(Json(Running { running: true }))
}

async fn status(
    Shared(sandboxes): Shared<Sandboxes>,
    Path(id): Path<String>,
) -> Result<Json<Running>, Error> {
    let running = sandboxes.is_running(&parse(&id)?).await?;
    Ok(Json(Running { running }))
}

async fn destroy(
    Shared(sandboxes): Shared<Sandboxes>,
    Path(id): Path<String>,
) -> Result<Json<Running>, Error> {
    sandboxes.destroy(parse(&id)?).await?;
    Ok(Json(Running { running: false }))
}

async fn port(Shared(sandboxes): Shared<Sandboxes>, request: Request) -> Response {
    let passed_on = async {
        let (id, uri) = inner(request.uri())?;
        let stream = sandboxes.connect(&id).await?;
        forward(stream, request, uri).await
    };
    passed_on.await.unwrap_or_else(|error: Error| {
        let reason = error.to_string();
        let mut answer = error.into_response();
        // A supervisor has errors of its own with the same statuses; this one is of the way to it.
        let reason = HeaderValue::from_str(&reason);
        let reason = reason.unwrap_or(HeaderValue::from_static("refused"));
        answer.headers_mut().insert(ERROR_HEADER, reason);
        answer
    })
}

/// The sandbox that `/{id}/port/{path}` is for, and `/{path}`, neither decoded nor encoded on the way.
fn inner(uri: &Uri) -> Result<(SandboxId, Uri), Error> {
    let whole = uri.path_and_query().map_or("", |whole| whole.as_str());
    let mut parts = whole.splitn(4, '/').skip(1);
    let id = parse(parts.next().unwrap_or_default())?;
    let path = parts.nth(1).unwrap_or_default();
    let uri = format!("/{path}").parse().map_err(|_| Error::Parameter {
        name: "path",
        rule: "cannot be passed on".to_owned(),
    })?;
    Ok((id, uri))
}

fn parse(id: &str) -> Result<SandboxId, Error> {
    SandboxId::parse(id).ok_or_else(|| Error::Parameter {
        name: "id",
        rule: SANDBOX_ID_RULE.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, header};

    use super::{inner, is_loopback};

    #[test]
    fn a_path_is_passed_on_as_it_is() {
        for (whole, want) in [
            ("/a/port/", "/"),
            (
                "/a/port/file/workspace/x%20y?z=%2F",
                "/file/workspace/x%20y?z=%2F",
            ),
            ("/a/port//x", "//x"),
        ] {
            let (id, uri) = inner(&whole.parse().unwrap()).unwrap();
            assert_eq!((id.as_str(), uri.to_string().as_str()), ("a", want));
        }
        assert!(inner(&"/A/port/".parse().unwrap()).is_err());
    }

    #[test]
    fn only_loopback_names_are_loopback() {
        let host = |host: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().unwrap());
            is_loopback(&headers)
        };
        for good in [
            "localhost",
            "localhost:80",
            "127.0.0.1:9",
            "127.1.2.3",
            "[::1]:8",
        ] {
            assert!(host(good), "{good}");
        }
        for bad in [
            "example.org",
            "localhost.example.org",
            "10.0.0.1",
            "127.0.0.1.x",
            "",
        ] {
            assert!(!host(bad), "{bad}");
        }
        assert!(!is_loopback(&HeaderMap::new()));
    }
}
