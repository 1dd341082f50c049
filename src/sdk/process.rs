//! A handle on one process.

use std::rc::Rc;

use sandbox_protocol::error::ErrorCode;
use sandbox_protocol::log::{Logs, Stream};
use sandbox_protocol::process::{
    self as wire, DEFAULT_WAIT_MS, ExitReason, KillReceipt, ProcessStatus, Stats, StdinReceipt,
};
use sandbox_protocol::ready::{ConditionRequest, Met};
use worker::{Headers, Method};

use super::again::insist;
use super::calls::Calls;
use super::{Content, Error, Events, LogPattern, PortCheck, Signal};
use crate::platform::now;

/// How long one request waits for an exit, in milliseconds; then the next goes on.
const EXIT_WAIT_MS: u64 = 50_000;

/// A process of a sandbox. What it knows of the process is of the moment at which it was made. A cheap clone.
///
/// A wait whose connection is cut is taken up again; it never touches the process, not even when it times out
/// (`PROCESS_READY_TIMEOUT`).
///
/// ```no_run
/// use workers_sandbox::{Error, PortCheck, Process};
///
/// # async fn example(server: &Process) -> Result<(), Error> {
/// server.wait_for_port(8080, PortCheck::http("/health")).await?;
/// let line = server.wait_for_log("Server listening").await?.line;
/// worker::console_log!("{line}: {:?}", server.status().await?);
/// let receipt = server.kill().await?;
/// assert!(receipt.survivors.is_empty());
/// let exit = server.wait_for_exit().await?;
/// # drop(exit);
/// # Ok(())
/// # }
/// ```
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
    /// The signal that ended it.
    pub signal: Option<sandbox_protocol::signal::Signal>,
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
        Events::open(&self.calls, self.path("/logs"), None).await
    }

    /// What its whole tree uses; `None` where the kernel does not tell.
    pub async fn stats(&self) -> Result<Stats, Error> {
        self.calls.get(&self.path("/stats")).await
    }

    /// Sends it something to read; how many bytes it took. `STDIN_CLOSED` if it was not started with
    /// [`stdin`](super::ProcessOptions::stdin), or takes no more.
    ///
    /// ```no_run
    /// use workers_sandbox::{Error, ProcessOptions, SandboxHandle};
    ///
    /// # async fn example(sandbox: &SandboxHandle) -> Result<(), Error> {
    /// let sort = sandbox.start_process("sort", ProcessOptions::new().stdin()).await?;
    /// sort.write_stdin("b\na\n").await?;
    /// sort.close_stdin().await?;
    /// sort.wait_for_exit().await?;
    /// assert_eq!(sort.logs().await?.stdout, "a\nb\n");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn write_stdin(&self, content: impl Into<Content>) -> Result<u64, Error> {
        let path = self.path("/stdin");
        self.send_stdin(&path, content.into()).await
    }

    /// Ends what it reads.
    pub async fn close_stdin(&self) -> Result<(), Error> {
        let path = self.path("/stdin?eof=true");
        self.send_stdin(&path, "".into()).await.map(|_| ())
    }

    async fn send_stdin(&self, path: &str, content: Content) -> Result<u64, Error> {
        let sent = self.calls.upload(Method::Post, path, content).await?;
        let receipt: StdinReceipt = super::calls::read(sent).await?;
        Ok(receipt.written_bytes)
    }

    /// Terminates its whole tree: SIGTERM, 5 s, SIGKILL. Answers when the tree is gone.
    pub async fn kill(&self) -> Result<KillReceipt, Error> {
        self.signal(Signal::Term).await
    }

    /// Sends `signal` to its whole tree, and kills what is left after the signal's grace.
    pub async fn signal(&self, signal: Signal) -> Result<KillReceipt, Error> {
        kill(&self.calls, &self.path(""), signal, None).await
    }

    /// Sends `signal` to its whole tree, and kills what is left after `grace_ms`.
    pub async fn signal_with_grace(
        &self,
        signal: Signal,
        grace_ms: u64,
    ) -> Result<KillReceipt, Error> {
        kill(&self.calls, &self.path(""), signal, Some(grace_ms)).await
    }

    /// Kills what is left of its tree, and forgets it: its record and its log are gone.
    pub async fn forget(self) -> Result<(), Error> {
        let path = self.path("");
        let forgotten = self.calls.send(Method::Delete, &path, Headers::new(), None);
        forgotten.await.map(|_| ())
    }

    /// Waits until something of its tree listens on `port` and answers as `check` says.
    pub async fn wait_for_port(&self, port: u16, check: PortCheck) -> Result<(), Error> {
        self.wait(check.into_request(port)).await.map(|_| ())
    }

    /// Waits until it prints a line that has `pattern`: a text, or a [`LogPattern`]. Looks at what is already there
    /// first.
    pub async fn wait_for_log(&self, pattern: impl Into<LogPattern>) -> Result<LogMatch, Error> {
        match self.wait(pattern.into().into_request()).await? {
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

    /// Waits until there is a file at `path`, for at most a minute.
    pub async fn wait_for_file(&self, path: &str) -> Result<(), Error> {
        let condition = ConditionRequest {
            file: Some(path.to_owned()),
            ..ConditionRequest::default()
        };
        self.wait(condition).await.map(|_| ())
    }

    /// Waits until the command `argv` exits 0, for at most a minute.
    pub async fn wait_for_command(&self, argv: &[&str]) -> Result<(), Error> {
        let condition = ConditionRequest {
            exec: Some(argv.iter().map(|&word| word.to_owned()).collect()),
            ..ConditionRequest::default()
        };
        self.wait(condition).await.map(|_| ())
    }

    /// Waits until it has ended, however long that takes.
    pub async fn wait_for_exit(&self) -> Result<Exit, Error> {
        let request = ConditionRequest {
            exit: Some(true),
            timeout_ms: Some(EXIT_WAIT_MS),
            ..ConditionRequest::default()
        };
        loop {
            match self.wait(request.clone()).await {
                Ok(Met::Exit {
                    exit_code,
                    signal,
                    reason,
                }) => {
                    return Ok(Exit {
                        exit_code,
                        signal,
                        reason,
                    });
                }
                Ok(other) => return Err(unexpected(&other)),
                Err(error) if error.code() == Some(ErrorCode::ProcessReadyTimeout) => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn wait(&self, mut request: ConditionRequest) -> Result<Met, Error> {
        let (began, limit_ms) = (now(), request.timeout_ms.unwrap_or(DEFAULT_WAIT_MS));
        let path = self.path("/wait");
        insist(async || {
            // What an earlier try waited is not waited again.
            let left_ms = limit_ms.saturating_sub(now().since(began)).max(1);
            request.timeout_ms = Some(left_ms);
            self.calls.json(Method::Post, &path, Some(&request)).await
        })
        .await
    }
}

/// Kills the tree of the process at `path`.
pub(super) async fn kill(
    calls: &Calls,
    path: &str,
    signal: Signal,
    grace_ms: Option<u64>,
) -> Result<KillReceipt, Error> {
    let request = signal.into_request(grace_ms);
    let path = format!("{path}/kill");
    calls.json(Method::Post, &path, Some(&request)).await
}

fn unexpected(met: &Met) -> Error {
    Error::Unexpected {
        status: 200,
        detail: format!("another wait was met: {met:?}"),
    }
}
