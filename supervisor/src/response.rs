//! The one way from an error to a response.

use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sandbox_protocol::error::ErrorCode;

use crate::error::Error;

/// What a router answers where no route has the path.
pub(crate) async fn no_route(request: Request) -> Error {
    Error::RouteNotFound {
        path: request.uri().path().to_owned(),
    }
}

/// Gives the body that every error has to a 405 of the router, which knows only the methods.
pub(crate) fn method_not_allowed(bare: &Response) -> Response {
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
        // That something else is not there to answer is for the client to know, and no failure of ours.
        if status == StatusCode::INTERNAL_SERVER_ERROR {
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
