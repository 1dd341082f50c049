//! A build's process runs: until it has ended, or is to end.

use std::pin::pin;
use std::rc::Rc;

use futures::channel::mpsc;
use futures::{FutureExt, StreamExt, select_biased};
use sandbox_protocol::build::BuildReason;
use sandbox_protocol::error::ErrorCode;
use sandbox_protocol::time::Timestamp;

use crate::client::{Client, Failure};
use crate::platform::{now, sleep};
use crate::records::Life;
use crate::sandbox::Core;

use super::outcome::{Outcome, Seen};
use super::start::ASK_AGAIN_MS;
use super::task::Guard;
use crate::live::{Command, Live};

/// How long one wait for the exit is held, in milliseconds.
const WAIT_MS: u64 = 50_000;

/// How much later than the supervisor the object ends a build that is out of time, in milliseconds.
const DEADLINE_MARGIN_MS: u64 = 30_000;

/// How long followers may read on after the exit, in milliseconds; longer if the build has time left.
const DRAIN_MS: u64 = 60_000;

impl Guard {
    /// Until the build has ended or is to end.
    pub(super) async fn watch(
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
        let grace_ms = core
            .settings()
            .map_or(30_000, |settings| settings.reattach_grace_ms);
        let mut outcome = {
            let mut saved = pin!(self.keep_saving(client).fuse());
            loop {
                let mut alone = pin!(live.missed_too_long(grace_ms).fuse());
                select_biased! {
                    outcome = exited => break outcome,
                    command = inbox.next() => match command {
                        Some(Command::Cancel(reason)) => break Outcome::Stop(reason),
                        _ if live.is_left() => break Outcome::Stop(BuildReason::ClientGone),
                        _ => {}
                    },
                    _ = stopped => break Outcome::Stop(BuildReason::ContainerDied),
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
        record.started_at.plus_ms(self.row.process.timeout_ms)
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
        let silent_ms = now().since(*silent_since.get_or_insert(now()));
        let runs = core.container_running().await.ok();
        if let Some(reason) = Seen::silent(runs, silent_ms).reason() {
            return Outcome::Stop(reason);
        }
        sleep(ASK_AGAIN_MS).await;
    }
}
