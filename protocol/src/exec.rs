//! One-time commands: run, collect, answer.

use serde::{Deserialize, Serialize};

use crate::error::{ErrorBody, ErrorCode};
use crate::process::{Command, Environment, absolute_cwd, check_duration, check_environment};
use crate::time::Timestamp;

/// The exit code of a command that ran out of time, as timeout(1) has it.
pub const TIMED_OUT: i32 = 124;

/// The body of `POST …/exec`. A bridge route: unknown fields are ignored.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(
    feature = "openapi",
    derive(schemars::JsonSchema),
    schemars(transform = crate::openapi::rules::exec_request)
)]
#[serde(rename_all = "camelCase", default)]
pub struct ExecRequest {
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
    #[serde(skip_serializing_if = "Environment::is_empty")]
    pub env: Environment,
    /// How long it may run, in milliseconds; 0 or absent is no limit.
    #[serde(alias = "timeout_ms", skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// What it reads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stdin: Option<String>,
    /// The user that it runs as; `sandbox` by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

/// An [`ExecRequest`] that was checked.
#[derive(Clone, Debug, PartialEq)]
pub struct ExecSpec {
    /// What is run.
    pub command: Command,
    /// The working directory, absolute.
    pub cwd: String,
    /// Variables on top of the container's and the sandbox's.
    pub env: Environment,
    /// How long it may run, in milliseconds.
    pub timeout_ms: Option<u64>,
    /// What it reads; nothing if empty.
    pub stdin: String,
    /// The user that it runs as, if not `sandbox`.
    pub user: Option<String>,
}

impl ExecRequest {
    /// Checks what can be checked without a machine. The error names the field.
    pub fn validate(&self) -> Result<ExecSpec, ErrorBody> {
        check_environment("env", &self.env)?;
        check_duration("timeoutMs", self.timeout_ms.unwrap_or(0))?;
        Ok(ExecSpec {
            command: Command::from_fields(self.command.as_deref(), self.argv.as_deref())?,
            cwd: absolute_cwd(self.cwd.as_deref())?,
            env: self.env.clone(),
            timeout_ms: self.timeout_ms.filter(|ms| *ms > 0),
            stdin: self.stdin.clone().unwrap_or_default(),
            user: self.user.clone(),
        })
    }
}

/// The JSON answer of `POST …/exec`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ExecResult {
    /// Whether the exit code is 0.
    pub success: bool,
    /// The exit code; 128+n after signal n, 124 after the timeout.
    pub exit_code: i32,
    /// Standard output; what is not UTF-8 is replaced by U+FFFD.
    pub stdout: String,
    /// Standard error, likewise.
    pub stderr: String,
    /// The command as one line.
    pub command: String,
    /// How long it ran, in milliseconds.
    pub duration: u64,
    /// When it was started.
    pub timestamp: Timestamp,
    /// Whether it ran out of time.
    pub timed_out: bool,
    /// Whether it printed more than is kept.
    pub truncated: bool,
}

/// The data of `event: exit` in the SSE answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct ExecExit {
    /// The exit code; 128+n after signal n, 124 after the timeout.
    pub exit_code: i32,
}

/// The data of `event: error` in the SSE answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct ExecError {
    /// A sentence for a person.
    pub error: String,
    /// The same for a program.
    pub code: ErrorCode,
}
