//! `…/file/{path}` and `…/files/{path}`: files of the workspace, and what is in its folders.

use axum::body::Body;
use axum::extract::{Request, State as Shared};
use axum::http::StatusCode;
use axum::http::{HeaderName, HeaderValue, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use sandbox_protocol::file::Listing;
use sandbox_protocol::sandbox::Done;

use super::State;
use crate::error::Error;
use crate::files::WorkspacePath;

const FILE: &str = "/file/";
const FILES: &str = "/files/";

pub(super) fn routes() -> Router<State> {
    Router::new()
        .route("/file/{*path}", get(read).put(write).delete(remove))
        .route("/files/{*path}", get(list))
}

async fn read(Shared(state): Shared<State>, uri: Uri) -> Result<Response, Error> {
    let body = state.files.read(path(&uri, FILE)?).await?;
    Ok(download("application/octet-stream", body))
}

async fn write(Shared(state): Shared<State>, request: Request) -> Result<Json<Done>, Error> {
    let path = path(request.uri(), FILE)?;
    state.files.write(path, request.into_body()).await?;
    Ok(Json(Done { ok: true }))
}

async fn remove(Shared(state): Shared<State>, uri: Uri) -> Result<StatusCode, Error> {
    state.files.remove(path(&uri, FILE)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn list(Shared(state): Shared<State>, uri: Uri) -> Result<Json<Listing>, Error> {
    let folder = path(&uri, FILES)?;
    Ok(Json(Listing {
        path: folder.to_string(),
        entries: state.files.list(folder).await?,
    }))
}

/// `body` as bytes that no browser takes for anything else.
pub(super) fn download(media_type: &'static str, body: Body) -> Response {
    let nosniff: (HeaderName, HeaderValue) = (
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    let media_type = (header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    ([media_type, nosniff], body).into_response()
}

/// The path after `prefix`. The router's own extraction would demand UTF-8.
fn path(uri: &Uri, prefix: &str) -> Result<WorkspacePath, Error> {
    WorkspacePath::from_url(uri.path().strip_prefix(prefix).unwrap_or_default())
}
