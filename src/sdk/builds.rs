//! Builds by the library.

use sandbox_protocol::build::Build;
use sandbox_protocol::id::{BuildId, PROCESS_ID_RULE};
use sandbox_protocol::request::invalid;
use sandbox_protocol::routes::BUILD_ID_HEADER;
use worker::{Headers, Method};

use super::{BuildOptions, Error, Events, SandboxHandle};

impl SandboxHandle {
    /// Runs `command` as a build: its events, to the one that says how it ended, which comes when the
    /// sandbox is destroyed. Dropping the stream cancels the build, unless it is to continue alone.
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

    /// The events of a build, also after its sandbox is destroyed.
    pub async fn stream_build_logs(&self, id: &str) -> Result<Events, Error> {
        Events::open(self.ready().await?, format!("{}/logs", path(id)?)).await
    }
}

fn path(id: &str) -> Result<String, Error> {
    let id = BuildId::parse(id).ok_or_else(|| invalid("id", PROCESS_ID_RULE))?;
    Ok(format!("/builds/{id}"))
}
