//! Builds: a command in a sandbox that is destroyed at its end, whatever the end.

mod event;
mod request;

pub use event::BuildEvent;
pub use request::{BuildRequest, DEFAULT_TIMEOUT_MS, OnDisconnect};

use serde::{Deserialize, Serialize};

use crate::signal::Signal;
use crate::time::Timestamp;

/// Where a build is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum BuildStatus {
    /// Written down; its container or its process is not up yet.
    Starting,
    /// Its process runs.
    Running,
    /// It ended; its sandbox is being destroyed.
    Destroying,
    /// It exited 0, or `until` was seen.
    Succeeded,
    /// It exited otherwise, or could not be started.
    Failed,
    /// Somebody or something ended it on purpose.
    Cancelled,
    /// Its lifetime was over.
    TimedOut,
    /// Its container is gone, and nobody saw how it ended.
    Lost,
}

impl BuildStatus {
    /// Whether nothing follows.
    #[must_use]
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Starting | Self::Running | Self::Destroying)
    }
}

/// Why a build ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum BuildReason {
    /// Its process exited.
    Exited,
    /// `until` was seen.
    Matched,
    /// Its lifetime was over.
    Timeout,
    /// Its client went away and did not come back.
    ClientGone,
    /// `DELETE …/builds/{build}`.
    Cancelled,
    /// `DELETE` of its sandbox.
    Destroyed,
    /// Its container or its process could not be started.
    StartFailed,
    /// Its container stopped.
    ContainerDied,
    /// Its supervisor no longer answered.
    Lost,
}

/// A build's record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Build {
    /// Its name.
    pub id: String,
    /// The same, as in the closing event.
    pub build_id: String,
    /// The command as one line.
    pub command: String,
    /// Its working directory.
    pub cwd: String,
    /// Where it is in its life.
    pub status: BuildStatus,
    /// Why it ended; absent while it has not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<BuildReason>,
    /// Its exit code; null when it has none.
    pub exit_code: Option<i32>,
    /// The signal that ended it, when it was not ours.
    pub signal: Option<Signal>,
    /// Whether `until` was seen.
    pub matched: bool,
    /// How long it took, the destroy included; until then how long it has run.
    pub duration_ms: u64,
    /// How many bytes it printed, as far as known.
    pub log_bytes: u64,
    /// Whether the kept log has all of them (but for what the cap dropped, which is told).
    pub log_complete: bool,
    /// Whether its sandbox is destroyed.
    pub destroyed: bool,
    /// When it was asked for.
    pub started_at: Timestamp,
    /// When its sandbox was destroyed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// When the record was read or, of a final one, written.
    pub timestamp: Timestamp,
}

/// The answer of `GET …/builds`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct BuildList {
    /// Newest first.
    pub builds: Vec<Build>,
}
