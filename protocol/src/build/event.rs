//! The event that ends the stream of a build.

use serde::{Deserialize, Serialize};

use super::{Build, BuildReason, BuildStatus};
use crate::signal::Signal;
use crate::time::Timestamp;

/// The event that ends the stream of a build.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct BuildEvent {
    /// The build's name.
    pub build_id: String,
    /// How it ended.
    pub status: BuildStatus,
    /// Its exit code; null when it has none.
    pub exit_code: Option<i32>,
    /// The signal that ended it, when it was not ours.
    pub signal: Option<Signal>,
    /// Why it ended.
    pub reason: BuildReason,
    /// Whether `until` was seen.
    pub matched: bool,
    /// How long it took, the destroy included.
    pub duration_ms: u64,
    /// How many bytes it printed.
    pub log_bytes: u64,
    /// Whether the kept log has all of them.
    pub log_complete: bool,
    /// Whether the sandbox is destroyed: always, but where a build was refused in a sandbox that ran before.
    pub destroyed: bool,
    /// A sentence that says all this.
    pub data: String,
    /// When the final record was written.
    pub timestamp: Timestamp,
}

impl Build {
    /// The event that tells of this record; `None` while it is not final.
    #[must_use]
    pub fn closing_event(&self) -> Option<BuildEvent> {
        let reason = self.reason.filter(|_| self.status.is_final())?;
        Some(BuildEvent {
            build_id: self.id.clone(),
            status: self.status,
            exit_code: self.exit_code,
            signal: self.signal,
            reason,
            matched: self.matched,
            duration_ms: self.duration_ms,
            log_bytes: self.log_bytes,
            log_complete: self.log_complete,
            destroyed: self.destroyed,
            data: self.sentence(reason),
            timestamp: self.timestamp,
        })
    }

    fn sentence(&self, reason: BuildReason) -> String {
        let end = match reason {
            BuildReason::Exited => crate::log::ending(self.exit_code, self.signal),
            BuildReason::Matched => "printed what it was to print".to_owned(),
            BuildReason::Timeout => "ran out of time".to_owned(),
            BuildReason::ClientGone => "was cancelled, its client having gone".to_owned(),
            BuildReason::Cancelled => "was cancelled".to_owned(),
            BuildReason::Destroyed => "was cancelled by the destroy of its sandbox".to_owned(),
            BuildReason::StartFailed => "could not be started".to_owned(),
            BuildReason::ContainerDied => "lost its container".to_owned(),
            BuildReason::Lost => "lost its supervisor".to_owned(),
        };
        let sandbox = if self.destroyed {
            "is destroyed"
        } else {
            "is as it was"
        };
        format!("The build {end}; the sandbox {sandbox}")
    }
}
