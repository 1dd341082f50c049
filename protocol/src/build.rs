//! Builds: a command in a sandbox that is destroyed at its end, whatever the end.

use serde::{Deserialize, Serialize};

use crate::error::ErrorBody;
use crate::process::{
    Command, Environment, Limits, ProcessRequest, absolute_cwd, check_environment,
};
use crate::ready::PatternRequest;
use crate::request::invalid;
use crate::signal::Signal;
use crate::time::Timestamp;

/// The lifetime of a build that names none: 1 h.
pub const DEFAULT_TIMEOUT_MS: u64 = 3_600_000;

/// The body of `POST …/builds`, as it comes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct BuildRequest {
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
    /// The lifetime in milliseconds; 1 h by default, at most the ceiling.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// Output that means success.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<PatternRequest>,
    /// What happens when the client goes away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_disconnect: Option<OnDisconnect>,
    /// What the build may use.
    pub limits: Limits,
}

/// What happens to a build whose client goes away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OnDisconnect {
    /// It is cancelled.
    #[default]
    Cancel,
    /// It goes on.
    Continue,
}

impl BuildRequest {
    /// Checks the request against `ceiling_ms` and turns it into the process to start, named `id`.
    pub fn validate(
        &self,
        id: &crate::id::BuildId,
        ceiling_ms: u64,
    ) -> Result<ProcessRequest, ErrorBody> {
        let timeout_ms = self
            .timeout_ms
            .unwrap_or(DEFAULT_TIMEOUT_MS.min(ceiling_ms));
        if timeout_ms == 0 || timeout_ms > ceiling_ms {
            return Err(invalid(
                "timeoutMs",
                &format!("between 1 and the ceiling of {ceiling_ms} milliseconds"),
            ));
        }
        check_environment("env", &self.env)?;
        let process = ProcessRequest {
            command: self.command.clone(),
            argv: self.argv.clone(),
            cwd: self.cwd.clone(),
            env: self.env.clone(),
            id: Some(id.clone()),
            timeout_ms,
            limits: self.limits,
            until: self.until.clone(),
            ..ProcessRequest::default()
        };
        process.validate()?;
        Ok(process)
    }

    /// The command as one line, for the record.
    pub fn command_line(&self) -> Result<String, ErrorBody> {
        Command::from_fields(self.command.as_deref(), self.argv.as_deref())
            .map(|command| command.display())
    }

    /// The working directory, absolute, for the record.
    pub fn absolute_cwd(&self) -> Result<String, ErrorBody> {
        absolute_cwd(self.cwd.as_deref())
    }
}

/// Where a build is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
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

/// The event that ends the stream of a build.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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

/// The answer of `GET …/builds`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BuildList {
    /// Newest first.
    pub builds: Vec<Build>,
}

#[cfg(test)]
mod tests {
    use super::BuildRequest;
    use crate::id::BuildId;

    fn field(json: &str) -> Option<String> {
        let request: BuildRequest = serde_json::from_str(json).unwrap();
        let id = BuildId::parse("b1").unwrap();
        request
            .validate(&id, 6 * 3_600_000)
            .err()
            .map(|e| e.context.field.unwrap_or_default())
    }

    #[test]
    fn a_lifetime_is_within_the_ceiling() {
        assert_eq!(field(r#"{"command":"a"}"#), None);
        assert_eq!(field(r#"{"command":"a","timeoutMs":21600000}"#), None);
        assert_eq!(
            field(r#"{"command":"a","timeoutMs":21600001}"#).as_deref(),
            Some("timeoutMs")
        );
        assert_eq!(
            field(r#"{"command":"a","timeoutMs":0}"#).as_deref(),
            Some("timeoutMs")
        );
        assert_eq!(
            field(r#"{"command":"a","until":{"log":"x","regex":"y"}}"#).as_deref(),
            Some("until")
        );
    }

    #[test]
    fn the_lifetime_of_one_hour_bends_to_a_lower_ceiling() {
        let request: BuildRequest = serde_json::from_str(r#"{"command":"a"}"#).unwrap();
        let process = request
            .validate(&BuildId::parse("b").unwrap(), 1000)
            .unwrap();
        assert_eq!(process.timeout_ms, 1000);
    }
}
