//! Processes: how one is asked for, what is told of it, and the receipt of a kill.

mod command;
mod duration;
mod environment;
mod kill;
mod limits;
mod request;
mod restart;
mod stats;
mod status;
mod stdin;

pub use command::{Command, absolute_cwd};
pub use duration::{DEFAULT_WAIT_MS, MAX_DURATION_MS, check_duration};
pub use environment::{Environment, check_environment};
pub use kill::{Kill, KillAllReceipt, KillReceipt, KillRequest, Member};
pub use limits::{DEFAULT_LOG_BYTES, Limits};
pub use request::{ProcessRequest, ProcessSpec, Stderr};
pub use restart::{Restart, RestartPolicy};
pub use stats::Stats;
pub use status::{ExitReason, ProcessStatus};
pub use stdin::{Stdin, StdinQuery, StdinReceipt};

use serde::{Deserialize, Serialize};

use crate::error::ErrorBody;
use crate::request::invalid;
use crate::signal::Signal;
use crate::time::Timestamp;

/// A process, as every route tells of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
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
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct ProcessList {
    /// Oldest first.
    pub processes: Vec<Process>,
}

/// The query of `GET …/processes`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ProcessQuery {
    /// Those alone that are there in their lives.
    #[cfg_attr(feature = "openapi", schemars(with = "Option<ProcessStatus>"))]
    pub status: Option<String>,
    /// `true`: with what each tree has used.
    #[cfg_attr(feature = "openapi", schemars(with = "Option<bool>"))]
    pub stats: Option<String>,
}

impl ProcessQuery {
    /// The status that is asked for. The error names the parameter.
    pub fn wanted(&self) -> Result<Option<ProcessStatus>, ErrorBody> {
        let wanted = self.status.as_deref().map(|text| {
            ProcessStatus::from_wire(text).ok_or_else(|| {
                invalid(
                    "status",
                    "is starting, running, completed, failed, killed or error",
                )
            })
        });
        wanted.transpose()
    }
}
