//! The one task of a build: start, watch, end.

use std::rc::Rc;

use futures::channel::{mpsc, oneshot};
use sandbox_protocol::build::{Build, BuildReason};
use sandbox_protocol::error::ErrorBody;
use sandbox_protocol::sandbox::Receipt;

use crate::error::{Result, unavailable};
use crate::live::{Command, Live};
use crate::platform::{now, sleep};
use crate::records::BuildRow;
use crate::sandbox::{Core, interrupted};
use crate::{boot, teardown};

use super::nothing_destroyed;
use super::outcome::{Outcome, final_status};

/// How often a destroy is tried that did not end, in milliseconds.
const DESTROY_EVERY_MS: u64 = 5000;

/// The owner of one build.
pub(super) struct Guard {
    pub(super) core: Rc<Core>,
    pub(super) live: Rc<Live>,
    pub(super) row: BuildRow,
}

impl Guard {
    /// Lives through the build, and tells its beginning and its end.
    pub(super) async fn run(
        mut self,
        mut inbox: mpsc::UnboundedReceiver<Command>,
        tell_started: oneshot::Sender<Result<()>>,
        tell_ended: oneshot::Sender<(Build, Receipt)>,
    ) {
        let outcome = self.go(&mut inbox, tell_started).await;
        let receipt = self.finish(outcome).await;
        let record = self.row.record.clone();
        self.core.live.take();
        if let Err(error) = self.core.settle().await {
            worker::console_error!("{error}");
        }
        // Nobody may be waiting.
        let _ = tell_ended.send((record, receipt));
    }

    /// From the row to the outcome. `None`: the row had it already.
    async fn go(
        &mut self,
        inbox: &mut mpsc::UnboundedReceiver<Command>,
        tell_started: oneshot::Sender<Result<()>>,
    ) -> Option<Outcome> {
        if self.row.record.reason.is_some() {
            return None;
        }
        let started = self.start_unless_cancelled(inbox).await;
        // Nobody may be waiting: a resumed build has no request.
        match started {
            Ok(life) => {
                let _ = tell_started.send(Ok(()));
                Some(self.watch(&life, inbox).await)
            }
            Err(outcome) => {
                let _ = tell_started.send(Err(refusal(&outcome)));
                Some(outcome)
            }
        }
    }

    /// From the outcome to the final record. Past any limit it goes on, and the record says what is missing.
    async fn finish(&mut self, outcome: Option<Outcome>) -> Receipt {
        let alive = !matches!(outcome, Some(Outcome::Ended(_)));
        if let Some(outcome) = outcome {
            outcome.write(&mut self.row.record);
        }
        let refused = self.row.record.reason == Some(BuildReason::StartFailed);
        self.write();
        if !refused {
            self.rest_of_log(alive).await;
        }
        let needed = !refused || self.row.started_container;
        let receipt = if needed {
            self.destroy().await
        } else {
            nothing_destroyed()
        };
        let record = &mut self.row.record;
        record.status = final_status(record);
        record.destroyed = needed;
        record.ended_at = Some(now());
        record.timestamp = now();
        record.duration_ms = now().since(record.started_at);
        self.write();
        let generation = self.row.generation.unwrap_or_default();
        let detail = Some(format!(
            "{} {:?}",
            self.row.record.id, self.row.record.status
        ));
        if let Err(error) = self.core.event(generation, "buildEnded", detail) {
            worker::console_error!("{error}");
        }
        receipt
    }

    /// Destroys the sandbox; again and again if it must be.
    async fn destroy(&mut self) -> Receipt {
        let why = format!("build {}", self.row.record.id);
        loop {
            let receipt = teardown::destroy(&self.core, &why).await;
            if receipt.container_destroyed {
                return receipt;
            }
            sleep(DESTROY_EVERY_MS).await;
        }
    }

    fn write(&self) {
        // The row in memory is still right; the alarm tries again with the one in storage.
        if let Err(error) = self.core.records.set_build(&self.row) {
            worker::console_error!("{error}");
        }
    }
}

/// What the client of a build that could not be started is answered with.
fn refusal(outcome: &Outcome) -> ErrorBody {
    match outcome {
        Outcome::Refused(error) => error.clone(),
        Outcome::Stop(BuildReason::ContainerDied) => unavailable(
            boot::CONTAINER_DIED,
            "the container stopped before the build had begun",
        ),
        Outcome::Stop(BuildReason::Lost) => unavailable(
            "unreachable",
            "the supervisor fell silent before the build had begun",
        ),
        Outcome::Stop(_) | Outcome::Ended(_) => interrupted(),
    }
}
