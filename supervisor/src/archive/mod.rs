//! The workspace as a tar stream, in and out, with flat memory.

mod hydrate;
mod member;
mod persist;
mod tape;

use axum::body::Body;

use crate::error::Error;
use crate::files::Files;

pub use persist::Excludes;

/// Unpacks the archive `body` into the workspace. What is there already stays, or is replaced by a member of
/// its name. An error names the member and how many had been written before it.
pub async fn hydrate(files: &Files, body: Body) -> Result<(), Error> {
    files.upload(body, hydrate::unpack).await
}

/// The workspace as an archive, without what `excludes` names. A file that cannot be read cuts it off.
pub async fn persist(files: &Files, excludes: Excludes) -> Result<Body, Error> {
    files
        .download(move |root, out| persist::pack(root, &excludes, out))
        .await
}
