//! The one task of a build: start, watch, end.

use std::pin::pin;
use std::rc::Rc;

use futures::channel::{mpsc, oneshot};
use futures::{FutureExt, StreamExt, select_biased};
use sandbox_protocol::build::{Build, BuildReason, BuildStatus};
use sandbox_protocol::error::ErrorCode;
use sandbox_protocol::sandbox::{Receipt, SandboxStatus};
use sandbox_protocol::time::Timestamp;

use crate::client::{Client, Failure};
use crate::error::{Result, internal};
use crate::lifecycle::signed;
use crate::platform::{now, sleep};
use crate::records::{BuildRow, Life};
use crate::sandbox::Core;
use crate::{boot, teardown};

use super::live::{Command, Live};
use super::nothing_destroyed;
use super::outcome::{Outcome, final_status};
use super::save::SAVE_EVERY_MS;

/// How long a supervisor may be silent before it counts as lost, in milliseconds.
pub(super) const SILENCE_LIMIT_MS: u64 = 30_000;

/// How long one wait for the exit is held, in milliseconds.
const WAIT_MS: u64 = 50_000;

/// How much later than the supervisor the object ends a build that is out of time, in milliseconds.
const DEADLINE_MARGIN_MS: i64 = 30_000;

/// How long followers may read on after the exit, in milliseconds; longer if the build has time left.
const DRAIN_MS: i64 = 60_000;

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
                let refusal = match &outcome {
                    Outcome::Refused(error) => error.clone(),
                    _ => crate::sandbox::interrupted(),
                };
                let _ = tell_started.send(Err(refusal));
                Some(outcome)
            }
        }
    }

    async fn start_unless_cancelled(
        &mut self,
        inbox: &mut mpsc::UnboundedReceiver<Command>,
    ) -> Result<Life, Outcome> {
        let cancelled = async {
            loop {
                if let Some(Command::Cancel(reason)) = inbox.next().await {
                    return reason;
                }
            }
        };
        let mut cancelled = pin!(cancelled.fuse());
        select_biased! {
            reason = cancelled => Err(Outcome::Stop(reason)),
            started = pin!(self.start().fuse()) => started,
        }
    }

    /// Container, process, row. A process of this build that is there already is taken as it is.
    async fn start(&mut self) -> Result<Life, Outcome> {
        if self.row.record.status == BuildStatus::Running {
            return self.same_life().await;
        }
        self.start_anew().await
    }

    /// The life in which the process was started; another one knows nothing of it.
    async fn same_life(&self) -> Result<Life, Outcome> {
        let silent_since = now();
        loop {
            match self.core.running_life().await {
                Ok(Some(life)) if Some(life.generation) == self.row.generation => return Ok(life),
                Ok(_) => return Err(Outcome::Stop(BuildReason::ContainerDied)),
                Err(_) if now().since(silent_since) > SILENCE_LIMIT_MS => {
                    return Err(Outcome::Stop(BuildReason::Lost));
                }
                Err(_) => sleep(500).await,
            }
        }
    }

    async fn start_anew(&mut self) -> Result<Life, Outcome> {
        let before = self.core.records.life().map_err(Outcome::Refused)?;
        let life = boot::ensure(&self.core).await.map_err(Outcome::Refused)?;
        self.row.started_container |= before.is_none_or(|before| {
            before.status == SandboxStatus::Stopped || before.generation != life.generation
        });
        self.row.generation = Some(life.generation);
        self.start_process(&life).await?;
        self.row.record.status = BuildStatus::Running;
        let written = self.core.records.set_build(&self.row);
        written.map_err(Outcome::Refused)?;
        Ok(life)
    }

    async fn start_process(&self, life: &Life) -> Result<(), Outcome> {
        let client = self.core.client(life).map_err(Outcome::Refused)?;
        if client.process(self.live.id.as_str()).await.is_ok() {
            return Ok(());
        }
        let body = serde_json::to_string(&self.row.process)
            .map_err(|error| Outcome::Refused(internal("the build could not be sent", error)))?;
        let process = client.start(body).await.map_err(|failure| match failure {
            Failure::Refused(error) => Outcome::Refused(error),
            // It may have been started: what nobody knows of must go with its sandbox.
            Failure::Silent(_) => Outcome::Stop(BuildReason::Lost),
        })?;
        let detail = process
            .pid
            .map(|pid| format!("{} as pid {pid}", process.id));
        let noted = self.core.event(life.generation, "buildStarted", detail);
        noted.map_err(Outcome::Refused)
    }

    /// Until the build has ended or is to end.
    async fn watch(
        &mut self,
        present: &Life,
        inbox: &mut mpsc::UnboundedReceiver<Command>,
    ) -> Outcome {
        let (core, live) = (Rc::clone(&self.core), Rc::clone(&self.live));
        let Ok(client) = core.client(present) else {
            return Outcome::Stop(BuildReason::Lost);
        };
        let mut exited = pin!(exit_of(&core, client, live.id.as_str()).fuse());
        let mut stopped = pin!(client.container.stopped().fuse());
        let deadline = self.deadline();
        let mut late = pin!(sleep(deadline.plus_ms(DEADLINE_MARGIN_MS).since(now())).fuse());
        let mut outcome = {
            let mut saved = pin!(self.keep_saving(client).fuse());
            loop {
                let mut alone = pin!(live.missed_too_long(&core).fuse());
                select_biased! {
                    outcome = exited => break outcome,
                    command = inbox.next() => match command {
                        Some(Command::Cancel(reason)) => break Outcome::Stop(reason),
                        _ if live.is_left() => break Outcome::Stop(BuildReason::ClientGone),
                        _ => {}
                    },
                    () = stopped => break Outcome::Stop(BuildReason::ContainerDied),
                    () = saved => break Outcome::Stop(BuildReason::Lost),
                    () = alone => break Outcome::Stop(BuildReason::ClientGone),
                    () = late => break Outcome::Stop(BuildReason::Timeout),
                }
            }
        };
        if let Outcome::Ended(_) = outcome
            && let Some(reason) = self.drain(&live, inbox, deadline).await
        {
            // What the process did stands; only a destroy that was asked for is told.
            if reason == BuildReason::Destroyed {
                outcome = Outcome::Stop(reason);
            }
        }
        outcome
    }

    fn deadline(&self) -> Timestamp {
        let record = &self.row.record;
        record
            .started_at
            .plus_ms(signed(self.row.process.timeout_ms))
    }

    /// Lets those who follow read to the end of the log, which lies in the container.
    async fn drain(
        &self,
        live: &Live,
        inbox: &mut mpsc::UnboundedReceiver<Command>,
        deadline: Timestamp,
    ) -> Option<BuildReason> {
        let until = deadline.max(now().plus_ms(DRAIN_MS));
        let mut late = pin!(sleep(until.since(now())).fuse());
        while live.is_feeding() {
            select_biased! {
                command = inbox.next() => if let Some(Command::Cancel(reason)) = command {
                    return Some(reason);
                },
                () = late => return None,
            }
        }
        None
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
            sleep(SAVE_EVERY_MS).await;
        }
    }

    fn write(&self) {
        // The row in memory is still right; the alarm tries again with the one in storage.
        if let Err(error) = self.core.records.set_build(&self.row) {
            worker::console_error!("{error}");
        }
    }
}

/// Waits until the process has ended, through every cut.
async fn exit_of(core: &Core, client: Client<'_>, id: &str) -> Outcome {
    let mut silent_since = None;
    loop {
        let failure = match client.wait_for_exit(id, WAIT_MS).await {
            Ok(None) => {
                silent_since = None;
                continue;
            }
            Ok(Some(_)) => match client.process(id).await {
                Ok(process) => return Outcome::Ended(Box::new(process)),
                Err(failure) => failure,
            },
            Err(failure) => failure,
        };
        if matches!(&failure, Failure::Refused(error) if error.code == ErrorCode::ProcessNotFound) {
            return Outcome::Stop(BuildReason::ContainerDied);
        }
        if let Ok(false) = core.container_running().await {
            return Outcome::Stop(BuildReason::ContainerDied);
        }
        let since = *silent_since.get_or_insert(now());
        if now().since(since) > SILENCE_LIMIT_MS {
            return Outcome::Stop(BuildReason::Lost);
        }
        sleep(500).await;
    }
}
