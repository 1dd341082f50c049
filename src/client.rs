//! The supervisor's client: what the object asks for itself, each call with a limit in time.

use sandbox_protocol::error::{ErrorBody, ErrorCode};
use sandbox_protocol::log::{From, LogRequest, Selection};
use sandbox_protocol::process::{Environment, KillAllReceipt, KillReceipt, Process, ProcessList};
use sandbox_protocol::ready::Met;
use sandbox_protocol::routes::{
    ACTIVITY, Activity, ENVIRONMENT, HEALTH, Health, KEPT, KEPT_END, KEPT_FROM, KEPT_TO,
};
use serde::de::DeserializeOwned;
use worker::wasm_bindgen::JsValue;
use worker::{Headers, Method, Response};

use crate::container::Container;
use crate::platform::within;

/// A supervisor that demands `token`.
#[derive(Clone, Copy)]
pub(crate) struct Client<'a> {
    pub(crate) container: &'a Container,
    pub(crate) token: &'a str,
}

/// Why a call has no result.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Nobody answered, or not in time. Says nothing of what became of the request.
    Silent(String),
    /// The supervisor answered that it will not.
    Refused(ErrorBody),
}

impl std::convert::From<worker::Error> for Failure {
    fn from(error: worker::Error) -> Self {
        Self::Silent(error.to_string())
    }
}

/// A piece of a ledger, for the object to keep.
pub(crate) struct Piece {
    /// The cursor of its first entry: later than asked for where older output is gone.
    pub(crate) from: String,
    /// The cursor after its last entry.
    pub(crate) to: String,
    /// The cursor of the ledger's end.
    pub(crate) end: String,
    /// One gzip member of frames; empty when there is nothing new.
    pub(crate) packed: Vec<u8>,
}

impl Client<'_> {
    /// Passes a call on and its answer back, bodies untouched.
    pub(crate) async fn pass(
        &self,
        method: &str,
        path_and_query: &str,
        headers: Headers,
        body: Option<JsValue>,
    ) -> worker::Result<Response> {
        headers.set("Authorization", &format!("Bearer {}", self.token))?;
        self.container
            .fetch(method, path_and_query, headers, body)
            .await
    }

    /// The boot of the supervisor that answers.
    pub(crate) async fn health(&self, limit_ms: u64) -> Result<Health, Failure> {
        self.ask(Method::Get, HEALTH, None, limit_ms).await
    }

    /// Sets the variables of everything that is started from now on.
    pub(crate) async fn set_environment(&self, env: &Environment) -> Result<(), Failure> {
        let body = serde_json::to_string(env).map_err(worker::Error::from)?;
        self.send(Method::Put, ENVIRONMENT, Some(body), 10_000)
            .await
            .map(|_| ())
    }

    /// Every limit in force, as it is answered.
    pub(crate) async fn limits(&self) -> Result<serde_json::Value, Failure> {
        self.ask(Method::Get, "/limits", None, 10_000).await
    }

    /// Starts a process; `body` is a checked `ProcessRequest`.
    pub(crate) async fn start(&self, body: String) -> Result<Process, Failure> {
        self.ask(Method::Post, "/processes", Some(body), 60_000)
            .await
    }

    /// Every process of this boot.
    pub(crate) async fn processes(&self, limit_ms: u64) -> Result<Vec<Process>, Failure> {
        let list: ProcessList = self.ask(Method::Get, "/processes", None, limit_ms).await?;
        Ok(list.processes)
    }

    /// Which calls keep the sandbox awake.
    pub(crate) async fn activity(&self, limit_ms: u64) -> Result<Activity, Failure> {
        self.ask(Method::Get, ACTIVITY, None, limit_ms).await
    }

    /// One process.
    pub(crate) async fn process(&self, id: &str) -> Result<Process, Failure> {
        self.ask(Method::Get, &format!("/processes/{id}"), None, 10_000)
            .await
    }

    /// Waits for the end of a process, for at most `wait_ms`; `None` if it has not ended by then.
    pub(crate) async fn wait_for_exit(
        &self,
        id: &str,
        wait_ms: u64,
    ) -> Result<Option<Met>, Failure> {
        let body = format!(r#"{{"exit":true,"timeoutMs":{wait_ms}}}"#);
        let path = format!("/processes/{id}/wait");
        match self
            .ask(Method::Post, &path, Some(body), wait_ms + 5000)
            .await
        {
            Ok(met) => Ok(Some(met)),
            Err(Failure::Refused(error)) if error.code == ErrorCode::ProcessReadyTimeout => {
                Ok(None)
            }
            Err(failure) => Err(failure),
        }
    }

    /// Terminates the tree of a process: SIGTERM, `grace_ms`, SIGKILL.
    pub(crate) async fn kill(&self, id: &str, grace_ms: u64) -> Result<KillReceipt, Failure> {
        let body = format!(r#"{{"graceMs":{grace_ms}}}"#);
        let path = format!("/processes/{id}/kill");
        self.ask(Method::Post, &path, Some(body), grace_ms + 12_000)
            .await
    }

    /// Terminates every tree at once.
    pub(crate) async fn kill_all(&self, limit_ms: u64) -> Result<KillAllReceipt, Failure> {
        self.ask(Method::Delete, "/processes", None, limit_ms).await
    }

    /// The next piece of a ledger after the cursor `since`, of at most the `newest` bytes.
    pub(crate) async fn kept(
        &self,
        id: &str,
        since: Option<&str>,
        newest: u64,
    ) -> Result<Piece, Failure> {
        let since = since.map_or_else(String::new, |since| format!("&since={since}"));
        let path = format!("/processes/{id}/{KEPT}?maxBytes={PIECE_BYTES}&newest={newest}{since}");
        let mut answer = self.send(Method::Get, &path, None, 20_000).await?;
        let header = |name: &str| {
            let value = answer.headers().get(name)?;
            value.ok_or_else(|| worker::Error::from(format!("no {name} in the answer")))
        };
        let (from, to, end) = (header(KEPT_FROM)?, header(KEPT_TO)?, header(KEPT_END)?);
        let bytes = within(20_000, answer.bytes()).await;
        let packed = bytes.ok_or_else(|| Failure::Silent("a kept piece broke off".into()))??;
        Ok(Piece {
            from,
            to,
            end,
            packed,
        })
    }

    /// Follows the log of a process as `request` asks; the answer's body is a native stream.
    pub(crate) async fn follow(&self, id: &str, request: &LogRequest) -> Result<Response, Failure> {
        let headers = Headers::new();
        headers.set("Accept", request.format.media_type())?;
        let stream = match request.stream {
            Selection::Both => "both",
            Selection::Stdout => "stdout",
            Selection::Stderr => "stderr",
        };
        let mut query = format!(
            "follow=true&stream={stream}&timestamps={}",
            request.timestamps
        );
        match &request.from {
            From::Start => {}
            From::After(cursor) => headers.set("Last-Event-ID", &cursor.to_string())?,
            From::Tail(lines) => query = format!("{query}&tail={lines}"),
        }
        let path = format!("/processes/{id}/logs?{query}");
        let opened = within(10_000, self.pass("GET", &path, headers, None)).await;
        checked(opened.ok_or_else(|| Failure::Silent("no answer in 10 s".into()))??).await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<String>,
        limit_ms: u64,
    ) -> Result<T, Failure> {
        let mut answer = self.send(method, path, body, limit_ms).await?;
        Ok(answer.json().await?)
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<String>,
        limit_ms: u64,
    ) -> Result<Response, Failure> {
        let headers = Headers::new();
        headers.set("Content-Type", "application/json")?;
        let sent = within(
            limit_ms,
            self.pass(method.as_ref(), path, headers, body.map(JsValue::from)),
        )
        .await;
        let silent = || Failure::Silent(format!("no answer in {limit_ms} ms"));
        checked(sent.ok_or_else(silent)??).await
    }
}

/// The frames that one piece holds at most, before compression: what this side can unpack at once.
const PIECE_BYTES: u64 = 4 << 20;

/// Tells a refusal apart from an answer.
async fn checked(mut answer: Response) -> Result<Response, Failure> {
    if answer.status_code() < 400 {
        return Ok(answer);
    }
    let text = answer.text().await?;
    match serde_json::from_str::<ErrorBody>(&text) {
        Ok(error) => Err(Failure::Refused(error)),
        Err(_) => Err(Failure::Silent(format!(
            "answered {}",
            answer.status_code()
        ))),
    }
}
