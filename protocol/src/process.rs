//! Processes: how one is asked for, what is told of it, and the receipt of a kill.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use crate::error::{ErrorBody, ErrorCode};
use crate::id::ProcessId;
use crate::ready::{Condition, ConditionRequest, Pattern, PatternRequest};
use crate::request::invalid;
use crate::signal::Signal;
use crate::time::Timestamp;

/// The largest `timeoutMs`, `graceMs` or `backoffMs`: 30 days.
pub const MAX_DURATION_MS: u64 = 30 * 24 * 3_600_000;

/// The log cap of a process that names none: 256 MiB.
pub const DEFAULT_LOG_BYTES: u64 = 256 << 20;

/// How long a start waits for `ready`, and a wait for its condition, when the caller does not say.
pub const DEFAULT_WAIT_MS: u64 = 60_000;

/// Variables by name; `null` takes one away.
pub type Environment = BTreeMap<String, Option<String>>;

/// The body of `POST …/processes`, as it comes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ProcessRequest {
    /// A line for `bash -c`. Exactly one of `command` and `argv`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// An executable and its arguments, run without a shell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub argv: Option<Vec<String>>,
    /// The working directory; relative to `/workspace`, which is the default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// Variables on top of the container's and the sandbox's.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: Environment,
    /// A name of the caller's choice, which makes the start idempotent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<ProcessId>,
    /// The lifetime, in milliseconds; 0 is none.
    pub timeout_ms: u64,
    /// What the process reads.
    pub stdin: Stdin,
    /// Where its standard error goes.
    pub stderr: Stderr,
    /// The user that it runs as; `sandbox` by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// What it may use.
    pub limits: Limits,
    /// Whether it is started again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart: Option<Restart>,
    /// What the answer waits for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready: Option<ConditionRequest>,
    /// How long it waits, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready_timeout_ms: Option<u64>,
    /// Output at which the tree is terminated, its work done. Set by the object for a build.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<PatternRequest>,
}

/// What a process reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Stdin {
    /// `/dev/null`.
    #[default]
    Null,
    /// What callers send to `…/stdin`.
    Pipe,
}

/// Where standard error goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Stderr {
    /// A pipe of its own.
    #[default]
    Separate,
    /// The pipe of standard output, so that their order is exact.
    Merge,
}

/// What a process and its descendants may use; 0 is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Limits {
    /// Bytes of its log that are kept.
    pub log_bytes: u64,
    /// Resident memory of the tree, in bytes.
    pub memory_bytes: u64,
    /// Processes in the tree.
    pub processes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            log_bytes: DEFAULT_LOG_BYTES,
            memory_bytes: 0,
            processes: 0,
        }
    }
}

/// When and how often a process is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Restart {
    /// After which ends.
    pub policy: RestartPolicy,
    /// How often at most.
    pub max_restarts: u32,
    /// The pause before the first, in milliseconds; it doubles each time, up to 30 s.
    pub backoff_ms: u64,
}

impl Default for Restart {
    fn default() -> Self {
        Self {
            policy: RestartPolicy::OnFailure,
            max_restarts: 5,
            backoff_ms: 500,
        }
    }
}

/// After which ends a process is started again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartPolicy {
    /// After none.
    Never,
    /// After an exit other than 0, or a signal.
    #[default]
    OnFailure,
    /// After every end that nobody asked for.
    Always,
}

/// What is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// A line for `bash -c`.
    Shell(String),
    /// An executable and its arguments; at least one element.
    Argv(Vec<String>),
}

impl Command {
    /// Takes exactly one of the two fields of a request. The error is `VALIDATION_FAILED` or
    /// `INVALID_COMMAND`.
    pub fn from_fields(command: Option<&str>, argv: Option<&[String]>) -> Result<Self, ErrorBody> {
        let empty = |what: &str| ErrorBody::new(ErrorCode::InvalidCommand, what);
        let command = match (command, argv) {
            (Some(_), Some(_)) => return Err(invalid("argv", "give command or argv, not both")),
            (None, None) => return Err(invalid("command", "give command or argv")),
            (Some(line), None) if line.trim().is_empty() => {
                return Err(empty("the command is empty"));
            }
            (None, Some([])) => return Err(empty("argv is empty")),
            (None, Some([first, ..])) if first.is_empty() => {
                return Err(empty("the first element of argv is empty"));
            }
            (Some(line), None) => Self::Shell(line.to_owned()),
            (None, Some(argv)) => Self::Argv(argv.to_vec()),
        };
        if command.argv().iter().any(|word| word.contains('\0')) {
            return Err(empty("the command contains a NUL byte"));
        }
        Ok(command)
    }

    /// The words that the kernel gets.
    #[must_use]
    pub fn argv(&self) -> Vec<&str> {
        match self {
            Self::Shell(line) => vec!["bash", "-c", line],
            Self::Argv(argv) => argv.iter().map(String::as_str).collect(),
        }
    }

    /// The command as one line, for people.
    #[must_use]
    pub fn display(&self) -> String {
        match self {
            Self::Shell(line) => line.clone(),
            Self::Argv(argv) => argv.join(" "),
        }
    }
}

/// A [`ProcessRequest`] that was checked.
#[derive(Clone, Debug, PartialEq)]
pub struct ProcessSpec {
    /// What is run.
    pub command: Command,
    /// The working directory, absolute.
    pub cwd: String,
    /// Variables on top of the container's and the sandbox's.
    pub env: Environment,
    /// The caller's name for it.
    pub id: Option<ProcessId>,
    /// The lifetime in milliseconds, if there is one.
    pub timeout_ms: Option<u64>,
    /// What the process reads.
    pub stdin: Stdin,
    /// Where its standard error goes.
    pub stderr: Stderr,
    /// The user that it runs as, if not `sandbox`.
    pub user: Option<String>,
    /// What it may use.
    pub limits: Limits,
    /// Whether it is started again.
    pub restart: Option<Restart>,
    /// What the answer to the start waits for.
    pub ready: Option<Condition>,
    /// How long it waits, in milliseconds.
    pub ready_timeout_ms: u64,
    /// Output at which the tree is terminated.
    pub until: Option<Pattern>,
}

impl ProcessSpec {
    /// Whether a start by `other` may be answered with what this one started: the same but for what the
    /// answer waits for.
    #[must_use]
    pub fn same_process(&self, other: &Self) -> bool {
        let bare = |spec: &Self| Self {
            ready: None,
            ready_timeout_ms: 0,
            ..spec.clone()
        };
        bare(self) == bare(other)
    }
}

impl ProcessRequest {
    /// Checks what can be checked without a machine. The error names the field.
    pub fn validate(&self) -> Result<ProcessSpec, ErrorBody> {
        check_environment("env", &self.env)?;
        check_duration("timeoutMs", self.timeout_ms)?;
        if self.limits.log_bytes == 0 {
            return Err(invalid("limits.logBytes", "must be at least 1"));
        }
        if let Some(restart) = &self.restart {
            check_duration("restart.backoffMs", restart.backoff_ms)?;
        }
        let ready_timeout_ms = self.ready_timeout_ms.unwrap_or(DEFAULT_WAIT_MS);
        check_duration("readyTimeoutMs", ready_timeout_ms)?;
        Ok(ProcessSpec {
            command: Command::from_fields(self.command.as_deref(), self.argv.as_deref())?,
            cwd: absolute_cwd(self.cwd.as_deref())?,
            env: self.env.clone(),
            id: self.id.clone(),
            timeout_ms: (self.timeout_ms > 0).then_some(self.timeout_ms),
            stdin: self.stdin,
            stderr: self.stderr,
            user: self.user.clone(),
            limits: self.limits,
            restart: self.restart,
            ready: self
                .ready
                .as_ref()
                .map(|ready| ready.validate("ready"))
                .transpose()?,
            ready_timeout_ms,
            until: self
                .until
                .as_ref()
                .map(|until| until.validate("until"))
                .transpose()?,
        })
    }
}

/// Refuses names that no environment can hold: empty, with `=` or NUL; and values with NUL.
pub fn check_environment(field: &str, env: &Environment) -> Result<(), ErrorBody> {
    for (name, value) in env {
        if name.is_empty() || name.contains(['=', '\0']) {
            return Err(invalid(
                &format!("{field}.{name}"),
                "a variable's name is not empty and has neither '=' nor NUL",
            ));
        }
        if value.as_ref().is_some_and(|value| value.contains('\0')) {
            return Err(invalid(
                &format!("{field}.{name}"),
                "a variable's value has no NUL",
            ));
        }
    }
    Ok(())
}

/// Refuses durations beyond [`MAX_DURATION_MS`].
pub fn check_duration(field: &str, ms: u64) -> Result<(), ErrorBody> {
    if ms > MAX_DURATION_MS {
        return Err(invalid(field, "at most 30 days, in milliseconds"));
    }
    Ok(())
}

/// The working directory that `cwd` means: itself if absolute, else below `/workspace`.
pub fn absolute_cwd(cwd: Option<&str>) -> Result<String, ErrorBody> {
    match cwd {
        None => Ok("/workspace".to_owned()),
        Some(cwd) if cwd.is_empty() || cwd.contains('\0') => Err(ErrorBody::new(
            ErrorCode::InvalidCwd,
            "cwd is a path: not empty, without NUL",
        )),
        Some(cwd) if cwd.starts_with('/') => Ok(cwd.to_owned()),
        Some(cwd) => Ok(format!("/workspace/{cwd}")),
    }
}

/// Where a process is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ProcessStatus {
    /// Asked for, not yet executing; also between two runs.
    Starting,
    /// Executing.
    Running,
    /// Exited 0.
    Completed,
    /// Exited otherwise, or by a signal that was not ours.
    Failed,
    /// Ended by us: a kill, a timeout, a limit.
    Killed,
    /// Lost with its container; nobody saw it end.
    Error,
}

impl ProcessStatus {
    /// Whether nothing follows.
    #[must_use]
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Starting | Self::Running)
    }

    /// The status as it is written on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Killed => "killed",
            Self::Error => "error",
        }
    }

    /// Reads what [`ProcessStatus::as_str`] writes.
    #[must_use]
    pub fn from_wire(text: &str) -> Option<Self> {
        [
            Self::Starting,
            Self::Running,
            Self::Completed,
            Self::Failed,
            Self::Killed,
            Self::Error,
        ]
        .into_iter()
        .find(|status| status.as_str() == text)
    }
}

/// Why a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ExitReason {
    /// It exited.
    Exited,
    /// A signal that was not ours ended it.
    Signaled,
    /// Its lifetime was over.
    Timeout,
    /// It used more memory than it may.
    Oom,
    /// It had more processes than it may.
    ProcessLimit,
    /// A kill ended it.
    Killed,
    /// Its container was stopped in an orderly way.
    ContainerStopped,
    /// Its container is gone, and nobody saw how it ended.
    Lost,
}

impl ExitReason {
    /// The status that a process has which ended for this reason.
    #[must_use]
    pub const fn status(self, exit_code: Option<i32>) -> ProcessStatus {
        match (self, exit_code) {
            (Self::Exited, Some(0)) => ProcessStatus::Completed,
            (Self::Exited | Self::Signaled, _) => ProcessStatus::Failed,
            (Self::Timeout | Self::Oom | Self::ProcessLimit | Self::Killed, _) => {
                ProcessStatus::Killed
            }
            (Self::ContainerStopped | Self::Lost, _) => ProcessStatus::Error,
        }
    }
}

/// A process, as every route tells of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Process {
    /// Its name here.
    pub id: String,
    /// The operating system's number of its first process, of the latest run.
    pub pid: Option<u32>,
    /// The command as one line.
    pub command: String,
    /// The words, if it was started without a shell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub argv: Option<Vec<String>>,
    /// Its working directory.
    pub cwd: String,
    /// Where it is in its life.
    pub status: ProcessStatus,
    /// When it was started.
    pub start_time: Timestamp,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_time: Option<Timestamp>,
    /// Its exit code; null while it runs and when a signal ended it.
    pub exit_code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<Signal>,
    /// Why it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<ExitReason>,
    /// How often it was started again.
    pub restarts: u32,
    /// How many processes of its tree live besides the first.
    pub descendants: u32,
    /// The boot of the supervisor that started it.
    pub boot_id: String,
    /// Whether `until` was seen in its output; absent without `until`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matched: Option<bool>,
    /// What its tree has used, in a list with `?stats=true`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stats: Option<Stats>,
}

/// The answer of `GET …/processes`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProcessList {
    /// Oldest first.
    pub processes: Vec<Process>,
}

/// The body of `POST …/kill`; an empty body is all defaults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct KillRequest {
    /// What the tree is sent first; SIGTERM by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal: Option<Signal>,
    /// How long it has before SIGKILL, in milliseconds. Absent: the signal's default. `null`: deliver the
    /// signal and do not wait.
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub grace_ms: Option<Option<u64>>,
}

#[expect(
    clippy::option_option,
    reason = "absent and null mean different things"
)]
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<u64>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// A [`KillRequest`] with its defaults filled in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kill {
    /// What the tree is sent first.
    pub signal: Signal,
    /// How long it has before SIGKILL, in milliseconds; `None`: the signal alone.
    pub grace_ms: Option<u64>,
}

impl Default for Kill {
    fn default() -> Self {
        Self {
            signal: Signal::TERM,
            grace_ms: Signal::TERM.default_grace_ms(),
        }
    }
}

impl KillRequest {
    /// Checks the grace and fills in the defaults.
    pub fn validate(&self) -> Result<Kill, ErrorBody> {
        let signal = self.signal.unwrap_or(Signal::TERM);
        let grace_ms = self.grace_ms.unwrap_or_else(|| signal.default_grace_ms());
        check_duration("graceMs", grace_ms.unwrap_or(0))?;
        Ok(Kill { signal, grace_ms })
    }
}

/// One process of a tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The operating system's number.
    pub pid: u32,
    /// Its command line, or its name in brackets where that is empty.
    pub command: String,
}

/// The proof of a kill.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KillReceipt {
    /// The process after the kill.
    pub process: Process,
    /// Who got the signal.
    pub signalled: Vec<Member>,
    /// Who was left after the grace and got SIGKILL.
    pub killed: Vec<Member>,
    /// Who lives on; empty when the tree is gone.
    pub survivors: Vec<Member>,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
}

/// The answer of `DELETE …/processes`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct KillAllReceipt {
    /// How many records were running.
    pub killed: u32,
    /// Who lives on, of all trees.
    pub survivors: Vec<Member>,
}

/// The answer of `POST …/stdin`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StdinReceipt {
    /// How many bytes the process's pipe took.
    pub written_bytes: u64,
}

/// What a tree has used; `null` where the kernel refuses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stats {
    /// Time on a processor, in milliseconds, of the living and the dead.
    pub cpu_ms: Option<u64>,
    /// Resident memory, in bytes.
    pub rss_bytes: Option<u64>,
    /// Bytes read from storage.
    pub read_bytes: Option<u64>,
    /// Bytes written to storage.
    pub write_bytes: Option<u64>,
    /// Threads.
    pub threads: Option<u64>,
    /// Processes.
    pub processes: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::{KillRequest, ProcessRequest};
    use crate::error::ErrorCode;
    use crate::request::parse;
    use crate::signal::Signal;

    fn request(json: &str) -> Result<super::ProcessSpec, crate::error::ErrorBody> {
        parse::<ProcessRequest, _>(&mut serde_json::Deserializer::from_str(json))?.validate()
    }

    #[test]
    fn exactly_one_of_command_and_argv_is_given() {
        assert!(request(r#"{"command":"true"}"#).is_ok());
        assert!(request(r#"{"argv":["true"]}"#).is_ok());
        for (bad, code) in [
            ("{}", ErrorCode::ValidationFailed),
            (
                r#"{"command":"a","argv":["a"]}"#,
                ErrorCode::ValidationFailed,
            ),
            (r#"{"command":" "}"#, ErrorCode::InvalidCommand),
            (r#"{"argv":[]}"#, ErrorCode::InvalidCommand),
            (r#"{"argv":[""]}"#, ErrorCode::InvalidCommand),
            (r#"{"command":"a\u0000b"}"#, ErrorCode::InvalidCommand),
        ] {
            assert_eq!(request(bad).unwrap_err().code, code, "{bad}");
        }
    }

    #[test]
    fn the_field_that_is_wrong_is_named() {
        for (bad, field) in [
            (r#"{"command":1}"#, "command"),
            (r#"{"command":"a","env":{"A":1}}"#, "env.A"),
            (r#"{"command":"a","env":{"A=B":"1"}}"#, "env.A=B"),
            (
                r#"{"command":"a","limits":{"logBytes":"x"}}"#,
                "limits.logBytes",
            ),
            (r#"{"command":"a","timeoutMs":-1}"#, "timeoutMs"),
            (r#"{"command":"a","id":"a/b"}"#, "id"),
            (r#"{"command":"a","nope":1}"#, "nope"),
            (
                r#"{"command":"a","restart":{"policy":"sometimes"}}"#,
                "restart.policy",
            ),
        ] {
            let error = request(bad).unwrap_err();
            assert_eq!(
                error.context.field.as_deref(),
                Some(field),
                "{bad}: {error}"
            );
        }
    }

    #[test]
    fn a_grace_of_null_differs_from_none() {
        let kill = |json| {
            serde_json::from_str::<KillRequest>(json)
                .unwrap()
                .validate()
                .unwrap()
        };
        assert_eq!(kill("{}").grace_ms, Some(5000));
        assert_eq!(kill(r#"{"graceMs":null}"#).grace_ms, None);
        assert_eq!(kill(r#"{"signal":"SIGHUP"}"#).grace_ms, None);
        assert_eq!(kill(r#"{"signal":9}"#).grace_ms, Some(0));
        assert_eq!(
            kill(r#"{"signal":"SIGUSR1","graceMs":10}"#).signal,
            Signal::from_name("USR1").unwrap()
        );
    }

    #[test]
    fn the_same_process_may_be_waited_for_otherwise() {
        let a = request(r#"{"command":"a","ready":{"port":80}}"#).unwrap();
        let b = request(r#"{"command":"a","readyTimeoutMs":5}"#).unwrap();
        let c = request(r#"{"command":"a","env":{"A":"b"}}"#).unwrap();
        assert!(a.same_process(&b));
        assert!(!a.same_process(&c));
    }
}
