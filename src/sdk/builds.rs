//! Builds by the library.

use sandbox_protocol::build::{Build, BuildList};
use sandbox_protocol::id::{BuildId, PROCESS_ID_RULE};
use sandbox_protocol::request::invalid;
use sandbox_protocol::routes::BUILD_ID_HEADER;
use worker::{Headers, Method};

use super::{BuildOptions, Error, Events, SandboxHandle};

impl SandboxHandle {
    /// Runs `command` as a build: its events, to the one that says how it ended, which comes when the
    /// sandbox is destroyed. Dropping the stream cancels the build, unless it is to continue alone.
    ///
    /// ```no_run
    /// use futures::TryStreamExt;
    /// use workers_sandbox::{BuildOptions, BuildStatus, Error, LogEvent, SandboxHandle};
    ///
    /// # async fn example(sandbox: &SandboxHandle) -> Result<(), Error> {
    /// let options = BuildOptions::new().until_log("Build complete");
    /// let mut events = sandbox.build("npm run build:production", options).await?;
    /// while let Some(event) = events.try_next().await? {
    ///     if let LogEvent::Build(end) = event {
    ///         assert_eq!(end.status, BuildStatus::Succeeded);
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn build(&self, command: &str, options: BuildOptions) -> Result<Events, Error> {
        let calls = self.ready().await?;
        let headers = Headers::new();
        headers.set("Accept", "application/x-ndjson")?;
        headers.set("Content-Type", "application/json")?;
        let body = serde_json::to_string(&options.into_request(command));
        let body = body.map_err(worker::Error::from)?;
        let answer = calls
            .send(Method::Post, "/builds", headers, Some(body.into()))
            .await?;
        let id = answer.headers().get(BUILD_ID_HEADER)?.unwrap_or_default();
        Events::of_answer(calls, format!("{}/logs", path(&id)?), answer)
    }

    /// The record of a build, also after its sandbox is destroyed.
    pub async fn get_build(&self, id: &str) -> Result<Build, Error> {
        self.ready().await?.get(&path(id)?).await
    }

    /// The records of its builds, newest first, also after the sandbox is destroyed.
    pub async fn list_builds(&self) -> Result<Vec<Build>, Error> {
        let list: BuildList = self.ready().await?.get("/builds").await?;
        Ok(list.builds)
    }

    /// The events of a build, also after its sandbox is destroyed.
    pub async fn stream_build_logs(&self, id: &str) -> Result<Events, Error> {
        Events::open(self.ready().await?, format!("{}/logs", path(id)?), None).await
    }

    /// Cancels a build; its final record, when the destroy is done. Of one that has ended, its final record.
    pub async fn cancel_build(&self, id: &str) -> Result<Build, Error> {
        let calls = self.ready().await?;
        calls.json(Method::Delete, &path(id)?, None::<&()>).await
    }
}

fn path(id: &str) -> Result<String, Error> {
    let id = BuildId::parse(id).ok_or_else(|| invalid("id", PROCESS_ID_RULE))?;
    Ok(format!("/builds/{id}"))
}
