//! How a build ended, and what that makes of its record; pure.

use sandbox_protocol::build::{Build, BuildReason, BuildStatus};
use sandbox_protocol::error::ErrorBody;
use sandbox_protocol::process::{ExitReason, Process};

/// How a build ended, before its sandbox is destroyed.
#[derive(Debug)]
pub(super) enum Outcome {
    /// Its process ended, and was seen to.
    Ended(Box<Process>),
    /// It is to end, for this reason.
    Stop(BuildReason),
    /// It could not be started.
    Refused(ErrorBody),
}

/// How long a supervisor may be silent before its container counts as lost, in milliseconds.
pub(super) const SILENCE_LIMIT_MS: u64 = 30_000;

/// What is known of a build whose process nobody can be asked about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    /// Whether the supervisor of its container has ever answered.
    pub(super) came_up: bool,
    /// Whether somebody answered that it will not be started.
    pub(super) refused: bool,
    /// Whether the container runs; `None` if nobody says.
    pub(super) runs: Option<bool>,
    /// For how long the supervisor has not answered.
    pub(super) silent_ms: u64,
}

impl Seen {
    /// A supervisor that has answered before, and does not now.
    pub(super) fn silent(runs: Option<bool>, silent_ms: u64) -> Self {
        Self {
            came_up: true,
            refused: false,
            runs,
            silent_ms,
        }
    }

    /// Why there is no process to ask about; `None` while the supervisor may still answer.
    ///
    /// `startFailed` only when the container never came up, or the process was refused. One that came up and
    /// is gone is `containerDied`. What nobody can tell for too long is `lost`.
    pub(super) fn reason(self) -> Option<BuildReason> {
        match self {
            Self { refused: true, .. } | Self { came_up: false, .. } => {
                Some(BuildReason::StartFailed)
            }
            Self {
                runs: Some(false), ..
            } => Some(BuildReason::ContainerDied),
            Self { silent_ms, .. } if silent_ms > SILENCE_LIMIT_MS => Some(BuildReason::Lost),
            _ => None,
        }
    }
}

impl Outcome {
    /// Writes the outcome into the record, where a next isolate finds it.
    pub(super) fn write(self, record: &mut Build) {
        record.status = BuildStatus::Destroying;
        match self {
            Self::Refused(error) => {
                worker::console_warn!("the build {} could not be started: {error}", record.id);
                record.reason = Some(BuildReason::StartFailed);
            }
            Self::Stop(reason) => record.reason = Some(reason),
            Self::Ended(process) => {
                let matched = process.matched == Some(true);
                record.matched = matched;
                record.reason = Some(match process.reason {
                    _ if matched => BuildReason::Matched,
                    Some(ExitReason::Timeout) => BuildReason::Timeout,
                    Some(ExitReason::Killed) => BuildReason::Cancelled,
                    Some(ExitReason::ContainerStopped | ExitReason::Lost) => {
                        BuildReason::ContainerDied
                    }
                    _ => BuildReason::Exited,
                });
                if record.reason == Some(BuildReason::Exited) {
                    record.exit_code = process.exit_code;
                    record.signal = process.signal;
                }
            }
        }
    }
}

/// The status that follows from the reason.
pub(super) fn final_status(record: &Build) -> BuildStatus {
    match record.reason {
        Some(BuildReason::Matched) => BuildStatus::Succeeded,
        Some(BuildReason::Exited) if record.exit_code == Some(0) => BuildStatus::Succeeded,
        Some(BuildReason::Exited | BuildReason::StartFailed) => BuildStatus::Failed,
        Some(BuildReason::Timeout) => BuildStatus::TimedOut,
        Some(BuildReason::ClientGone | BuildReason::Cancelled | BuildReason::Destroyed) => {
            BuildStatus::Cancelled
        }
        Some(BuildReason::ContainerDied | BuildReason::Lost) | None => BuildStatus::Lost,
    }
}

#[cfg(test)]
mod tests {
    use sandbox_protocol::build::{Build, BuildReason, BuildStatus};
    use sandbox_protocol::process::{ExitReason, Process};

    use super::{Outcome, SILENCE_LIMIT_MS, Seen, final_status};

    /// The record of a build that ended as `reason`, with this exit code and match.
    fn ended(reason: ExitReason, exit_code: Option<i32>, matched: Option<bool>) -> Build {
        let golden = include_str!("../../protocol/tests/wire/process.json");
        let mut process: Process = serde_json::from_str(golden).unwrap();
        process.reason = Some(reason);
        process.exit_code = exit_code;
        process.matched = matched;
        record(Outcome::Ended(Box::new(process)))
    }

    fn record(outcome: Outcome) -> Build {
        let golden = include_str!("../../protocol/tests/wire/build.json");
        let mut record: Build = serde_json::from_str(golden).unwrap();
        record.exit_code = None;
        outcome.write(&mut record);
        record.status = final_status(&record);
        record
    }

    #[test]
    fn a_match_outranks_every_later_exit() {
        for (reason, code) in [
            (ExitReason::Exited, Some(7)),
            (ExitReason::Killed, None),
            (ExitReason::Timeout, None),
        ] {
            let record = ended(reason, code, Some(true));
            assert_eq!(record.status, BuildStatus::Succeeded);
            assert_eq!(record.reason, Some(BuildReason::Matched));
            assert_eq!((record.exit_code, record.matched), (None, true));
        }
    }

    #[test]
    fn an_end_without_a_match_is_what_the_process_says() {
        for (reason, code, status) in [
            (ExitReason::Exited, Some(0), BuildStatus::Succeeded),
            (ExitReason::Exited, Some(3), BuildStatus::Failed),
            (ExitReason::Signaled, None, BuildStatus::Failed),
            (ExitReason::Oom, None, BuildStatus::Failed),
            (ExitReason::Timeout, None, BuildStatus::TimedOut),
            (ExitReason::Killed, None, BuildStatus::Cancelled),
            (ExitReason::ContainerStopped, None, BuildStatus::Lost),
        ] {
            let record = ended(reason, code, Some(false));
            assert_eq!(
                (record.status, record.exit_code),
                (status, code),
                "{reason:?}"
            );
            assert!(!record.matched);
        }
    }

    #[test]
    fn what_came_up_and_is_gone_has_died_and_what_never_did_has_not_started() {
        let long = SILENCE_LIMIT_MS + 1;
        let refused = BuildReason::StartFailed;
        for (came_up, refused, runs, silent_ms, reason) in [
            (false, false, None, 0, Some(refused)),
            (false, false, Some(false), long, Some(refused)),
            (false, false, Some(true), long, Some(refused)),
            (true, true, Some(true), 0, Some(refused)),
            (true, true, Some(false), long, Some(refused)),
            (
                true,
                false,
                Some(false),
                0,
                Some(BuildReason::ContainerDied),
            ),
            (
                true,
                false,
                Some(false),
                long,
                Some(BuildReason::ContainerDied),
            ),
            (true, false, Some(true), long, Some(BuildReason::Lost)),
            (true, false, None, long, Some(BuildReason::Lost)),
            (true, false, Some(true), SILENCE_LIMIT_MS, None),
            (true, false, None, 0, None),
        ] {
            let seen = Seen {
                came_up,
                refused,
                runs,
                silent_ms,
            };
            assert_eq!(seen.reason(), reason, "{seen:?}");
        }
    }

    #[test]
    fn what_stops_a_build_from_outside_is_told_apart() {
        for (reason, status) in [
            (BuildReason::ClientGone, BuildStatus::Cancelled),
            (BuildReason::Destroyed, BuildStatus::Cancelled),
            (BuildReason::Timeout, BuildStatus::TimedOut),
            (BuildReason::ContainerDied, BuildStatus::Lost),
            (BuildReason::Lost, BuildStatus::Lost),
        ] {
            assert_eq!(record(Outcome::Stop(reason)).status, status, "{reason:?}");
        }
    }
}
