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

    use super::{Outcome, final_status};

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
