//! A handle on one process.

use std::rc::Rc;

use sandbox_protocol::log::{Logs, Stream};
use sandbox_protocol::process::{self as wire, ExitReason, KillReceipt, ProcessStatus};
use sandbox_protocol::ready::{ConditionRequest, Met};
use worker::Method;

use super::calls::Calls;
use super::{Error, Events, PortCheck, Signal};

/// How long one request waits for an exit, in milliseconds; then the next goes on.
const EXIT_WAIT_MS: u64 = 50_000;

/// A process of a sandbox. What it knows of the process is of the moment at which it was made.
#[derive(Clone)]
pub struct Process {
    calls: Rc<Calls>,
    /// The process as it was told.
    pub info: wire::Process,
}

/// A line of a log that was waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogMatch {
    /// The line, without its end.
    pub line: String,
    /// The whole match and its groups, for a regular expression.
    pub groups: Vec<Option<String>>,
    /// Where it was printed.
    pub stream: Stream,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    /// Its exit code; `None` when a signal ended it.
    pub exit_code: Option<i32>,
    /// Why it ended.
    pub reason: ExitReason,
}

impl Process {
    pub(super) fn new(calls: &Rc<Calls>, info: wire::Process) -> Self {
        Self {
            calls: Rc::clone(calls),
            info,
        }
    }

    /// Its name in the sandbox.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.info.id
    }

    fn path(&self, rest: &str) -> String {
        format!("/processes/{}{rest}", self.info.id)
    }

    /// Where it is in its life now.
    pub async fn status(&self) -> Result<ProcessStatus, Error> {
        let process: wire::Process = self.calls.get(&self.path("")).await?;
        Ok(process.status)
    }

    /// Its log as it is now.
    pub async fn logs(&self) -> Result<Logs, Error> {
        self.calls.get(&self.path("/logs")).await
    }

    /// Its log as it is printed, from its beginning to its exit. A stream that is cut goes on by itself.
    pub async fn stream_logs(&self) -> Result<Events, Error> {
        Events::open(&self.calls, self.path("/logs")).await
    }

    /// Terminates its whole tree: SIGTERM, 5 s, SIGKILL.
    pub async fn kill(&self) -> Result<KillReceipt, Error> {
        self.signal(Signal::Term).await
    }

    /// Sends `signal` to its whole tree.
    pub async fn signal(&self, signal: Signal) -> Result<KillReceipt, Error> {
        let request = signal.into_request();
        self.calls
            .json(Method::Post, &self.path("/kill"), Some(&request))
            .await
    }

    /// Waits until something of its tree listens on `port` and answers as `check` says.
    pub async fn wait_for_port(&self, port: u16, check: PortCheck) -> Result<(), Error> {
        self.wait(&check.into_request(port)).await.map(|_| ())
    }

    /// Waits until a line contains `text`; looks at what is already there first.
    pub async fn wait_for_log(&self, text: &str) -> Result<LogMatch, Error> {
        self.wait_for_line(ConditionRequest {
            log: Some(text.to_owned()),
            ..ConditionRequest::default()
        })
        .await
    }

    /// Waits until a line matches `regex`, in the syntax of RE2.
    pub async fn wait_for_log_regex(&self, regex: &str) -> Result<LogMatch, Error> {
        self.wait_for_line(ConditionRequest {
            regex: Some(regex.to_owned()),
            ..ConditionRequest::default()
        })
        .await
    }

    async fn wait_for_line(&self, request: ConditionRequest) -> Result<LogMatch, Error> {
        match self.wait(&request).await? {
            Met::Log {
                line,
                groups,
                stream,
                ..
            } => Ok(LogMatch {
                line,
                groups: groups.unwrap_or_default(),
                stream,
            }),
            other => Err(unexpected(&other)),
        }
    }

    /// Waits until it has ended, however long that takes.
    pub async fn wait_for_exit(&self) -> Result<Exit, Error> {
        let request = ConditionRequest {
            exit: Some(true),
            timeout_ms: Some(EXIT_WAIT_MS),
            ..ConditionRequest::default()
        };
        loop {
            match self.wait(&request).await {
                Ok(Met::Exit {
                    exit_code, reason, ..
                }) => return Ok(Exit { exit_code, reason }),
                Ok(other) => return Err(unexpected(&other)),
                Err(error) if error.code() == Some(TIMEOUT) => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn wait(&self, request: &ConditionRequest) -> Result<Met, Error> {
        self.calls
            .json(Method::Post, &self.path("/wait"), Some(request))
            .await
    }
}

const TIMEOUT: sandbox_protocol::error::ErrorCode =
    sandbox_protocol::error::ErrorCode::ProcessReadyTimeout;

fn unexpected(met: &Met) -> Error {
    Error::Platform(format!("the sandbox answered another wait: {met:?}").into())
}
