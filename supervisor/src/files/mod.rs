//! Files of the workspace, reached beneath it and nowhere else.

mod content;
mod listing;
mod path;
mod root;
mod transfer;

use std::path::PathBuf;
use std::sync::Arc;

use axum::body::Body;
use sandbox_protocol::file::Entry;

use crate::error::Error;
use crate::rights::Rights;

pub use path::WorkspacePath;
pub(crate) use root::{Root, is_folder, look};
pub(crate) use transfer::{Download, Upload};

/// The workspace. A cheap clone.
#[derive(Clone, Debug)]
pub struct Files {
    workspace: Arc<PathBuf>,
    rights: Rights,
}

impl Files {
    /// The workspace in the folder `workspace`, touched with `rights` only.
    #[must_use]
    pub fn new(workspace: PathBuf, rights: Rights) -> Self {
        Self {
            workspace: Arc::new(workspace),
            rights,
        }
    }

    /// The bytes of the file at `path`, as a body of known length. 404 if there is none, 400 for a folder.
    pub async fn read(&self, path: WorkspacePath) -> Result<Body, Error> {
        let (file, length) = self.within(move |root| content::open(root, &path)).await?;
        let send = move |out: &mut Download| content::send(&file, length, out);
        transfer::download(&self.rights, Some(length), send).await
    }

    /// Puts `body` in the place of the file at `path`, all at once when all of it is there. Makes its parents.
    pub async fn write(&self, path: WorkspacePath, body: Body) -> Result<(), Error> {
        self.upload(body, move |root, upload| {
            content::replace(root, &path, upload)
        })
        .await
    }

    /// Removes the file or link at `path`.
    pub async fn remove(&self, path: WorkspacePath) -> Result<(), Error> {
        self.within(move |root| content::remove(root, &path)).await
    }

    /// What is in the folder at `path`, by name.
    pub async fn list(&self, path: WorkspacePath) -> Result<Vec<Entry>, Error> {
        self.within(move |root| listing::list(root, &path)).await
    }

    /// Feeds `body` to `work`, which has the rights and the workspace.
    pub(crate) async fn upload<T: Send + 'static>(
        &self,
        body: Body,
        work: impl FnOnce(&Root, &mut Upload) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (connection, mut upload) = transfer::upload(body);
        let work = self.within(move |root| work(root, &mut upload));
        let (read, done) = tokio::join!(connection, work);
        // A body that broke explains whatever the work made of it.
        read?;
        done
    }

    /// The bytes that `work` writes, as a body; `work` has the rights and the workspace.
    pub(crate) async fn download(
        &self,
        work: impl FnOnce(&Root, &mut Download) -> Result<(), Error> + Send + 'static,
    ) -> Result<Body, Error> {
        let workspace = self.workspace.clone();
        let root = self.rights.run(move || Root::open(&workspace)).await?;
        transfer::download(&self.rights, None, move |out| work(&root, out)).await
    }

    async fn within<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Root) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let workspace = self.workspace.clone();
        self.rights
            .run(move || work(&Root::open(&workspace)?))
            .await
    }
}
