//! Where a process is in its life, and why it left it.

use serde::{Deserialize, Serialize};

/// Where a process is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
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
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
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
