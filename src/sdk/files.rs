//! Files of the workspace, and the workspace as a whole, by the library.

use sandbox_protocol::file::{Entry, Listing};
use worker::{Method, Response, Url};

use super::{Content, Error, SandboxHandle};

impl SandboxHandle {
    /// Writes a file of the workspace: `path` is absolute, below `/workspace`. Makes its folders, and replaces what is
    /// there in one step. A [`worker::Request`] as its content is streamed.
    ///
    /// ```no_run
    /// use workers_sandbox::{Error, SandboxHandle};
    ///
    /// # async fn example(sandbox: &SandboxHandle) -> Result<(), Error> {
    /// sandbox.write_file("/workspace/app/hello.txt", "hello").await?;
    /// assert_eq!(sandbox.read_file("/workspace/app/hello.txt").await?, b"hello");
    /// for entry in sandbox.list_files("/workspace/app").await? {
    ///     worker::console_log!("{} {}", entry.name, entry.size_bytes);
    /// }
    /// sandbox.delete_file("/workspace/app/hello.txt").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn write_file(&self, path: &str, content: impl Into<Content>) -> Result<(), Error> {
        let calls = self.ready().await?;
        let path = file_path("file", path)?;
        let written = calls.upload(Method::Put, &path, content.into()).await;
        written.map(|_| ())
    }

    /// Reads a file of the workspace, whole.
    pub async fn read_file(&self, path: &str) -> Result<Vec<u8>, Error> {
        Ok(self.open_file(path).await?.bytes().await?)
    }

    /// Opens a file of the workspace: an answer whose body can be read piece by piece, or handed on as it is.
    pub async fn open_file(&self, path: &str) -> Result<Response, Error> {
        let calls = self.ready().await?;
        calls.download(Method::Get, &file_path("file", path)?).await
    }

    /// What is in a folder of the workspace, by name.
    pub async fn list_files(&self, path: &str) -> Result<Vec<Entry>, Error> {
        let calls = self.ready().await?;
        let listing: Listing = calls.get(&file_path("files", path)?).await?;
        Ok(listing.entries)
    }

    /// Removes a file of the workspace.
    pub async fn delete_file(&self, path: &str) -> Result<(), Error> {
        let calls = self.ready().await?;
        let path = file_path("file", path)?;
        let removed = calls.download(Method::Delete, &path).await;
        removed.map(|_| ())
    }

    /// The workspace as a tar stream, without the paths in `excludes` (relative to it): an answer whose body can be
    /// stored or handed on without entering the script.
    ///
    /// ```no_run
    /// use workers_sandbox::{Error, SandboxHandle};
    ///
    /// # async fn example(old: &SandboxHandle, new: &SandboxHandle) -> Result<(), Error> {
    /// let archive = old.persist(&["node_modules"]).await?;
    /// new.hydrate(archive).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn persist(&self, excludes: &[&str]) -> Result<Response, Error> {
        let calls = self.ready().await?;
        calls.download(Method::Post, &persist_path(excludes)?).await
    }

    /// Unpacks a tar stream into the workspace: bytes, or the body of a request or an answer.
    pub async fn hydrate(&self, archive: impl Into<Content>) -> Result<(), Error> {
        let calls = self.ready().await?;
        let unpacked = calls.upload(Method::Post, "/hydrate", archive.into()).await;
        unpacked.map(|_| ())
    }
}

/// The route of the file or folder at the absolute `path`, percent-encoded.
fn file_path(route: &str, path: &str) -> Result<String, Error> {
    let mut url = url(route)?;
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.extend(path.trim_start_matches('/').split('/'));
    }
    Ok(url.path().to_owned())
}

fn persist_path(excludes: &[&str]) -> Result<String, Error> {
    let mut url = url("persist")?;
    if !excludes.is_empty() {
        url.query_pairs_mut()
            .append_pair("excludes", &excludes.join(","));
    }
    Ok(url.as_str().trim_start_matches(ORIGIN).to_owned())
}

const ORIGIN: &str = "http://sandbox";

fn url(route: &str) -> Result<Url, Error> {
    Ok(Url::parse(&format!("{ORIGIN}/{route}")).map_err(worker::Error::from)?)
}

#[cfg(test)]
mod tests {
    use super::{file_path, persist_path};

    #[test]
    fn a_path_is_percent_encoded_but_for_its_slashes() {
        assert_eq!(
            file_path("file", "/workspace/a b/ü?#%").unwrap(),
            "/file/workspace/a%20b/%C3%BC%3F%23%25"
        );
    }

    #[test]
    fn what_is_excluded_is_one_parameter() {
        assert_eq!(persist_path(&[]).unwrap(), "/persist");
        let path = persist_path(&["node_modules", "a&b"]).unwrap();
        assert_eq!(path, "/persist?excludes=node_modules%2Ca%26b");
    }
}
