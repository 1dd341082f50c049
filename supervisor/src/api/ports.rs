//! `/ports/{port}/{path}`: every method, to a service in the sandbox.

use axum::Router;
use axum::extract::{Request, State as Shared};
use axum::http::Uri;
use axum::response::Response;
use axum::routing::any;
use sandbox_protocol::error::{ErrorBody, ErrorCode};
use sandbox_protocol::routes::service_port;

use super::State;
use crate::config::Listen;
use crate::error::Error;
use crate::ports;

pub(super) fn routes() -> Router<State> {
    Router::new()
        .route("/ports/{port}", any(pass))
        .route("/ports/{port}/", any(pass))
        .route("/ports/{port}/{*path}", any(pass))
}

async fn pass(Shared(state): Shared<State>, request: Request) -> Result<Response, Error> {
    let (port, uri) = target(request.uri())?;
    // In a container it is the one that is refused already; it may have been told another.
    if matches!(state.config.listen, Listen::Tcp(own) if own.port() == port) {
        let refused = ErrorBody::new(
            ErrorCode::InvalidPort,
            format!("port {port} is the supervisor's own"),
        );
        return Err(refused.into());
    }
    ports::pass(port, request, uri).await
}

/// The port that `/ports/{port}/{path}` names, and `/{path}`, neither decoded nor encoded on the way.
fn target(uri: &Uri) -> Result<(u16, Uri), Error> {
    let whole = uri.path_and_query().map_or("", |whole| whole.as_str());
    let rest = whole.strip_prefix("/ports/").unwrap_or_default();
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (port, path) = rest.split_at(end);
    let port = service_port(port)?;
    let slash = if path.starts_with('/') { "" } else { "/" };
    let uri = format!("{slash}{path}")
        .parse()
        .map_err(|_| Error::Parameter {
            name: "path",
            rule: "cannot be passed on".to_owned(),
        })?;
    Ok((port, uri))
}

#[cfg(test)]
mod tests {
    use super::target;

    #[test]
    fn a_path_reaches_the_service_as_it_is() {
        for (whole, port, path) in [
            ("/ports/80", 80, "/"),
            ("/ports/80/", 80, "/"),
            ("/ports/80?a=%20b", 80, "/?a=%20b"),
            ("/ports/3000//x%2Fy?z=%2F", 3000, "//x%2Fy?z=%2F"),
        ] {
            let (found, uri) = target(&whole.parse().unwrap()).unwrap();
            assert_eq!((found, uri.to_string().as_str()), (port, path), "{whole}");
        }
        assert!(target(&"/ports/9711/health".parse().unwrap()).is_err());
    }
}
