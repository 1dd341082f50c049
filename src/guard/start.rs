//! The way to a build's process: container, process, row.

use std::pin::pin;

use futures::channel::mpsc;
use futures::{FutureExt, StreamExt, select_biased};
use sandbox_protocol::build::{BuildReason, BuildStatus};
use sandbox_protocol::error::{ErrorBody, ErrorCode};
use sandbox_protocol::sandbox::SandboxStatus;

use crate::boot;
use crate::client::{Client, Failure};
use crate::error::{Result, internal};
use crate::live::Command;
use crate::platform::{now, sleep};
use crate::records::Life;

use super::outcome::{Outcome, Seen};
use super::task::Guard;

/// The pause before a supervisor that was silent is asked again, in milliseconds.
pub(super) const ASK_AGAIN_MS: u64 = 500;

impl Guard {
    /// The life in which its process runs, unless it is cancelled before.
    pub(super) async fn start_unless_cancelled(
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
                Err(_) => {}
            }
            if let Some(reason) = Seen::silent(None, now().since(silent_since)).reason() {
                return Err(Outcome::Stop(reason));
            }
            sleep(ASK_AGAIN_MS).await;
        }
    }

    async fn start_anew(&mut self) -> Result<Life, Outcome> {
        let before = self.core.records.life().map_err(Outcome::Refused)?;
        self.row.started_container |= before
            .as_ref()
            .is_none_or(|before| before.status == SandboxStatus::Stopped);
        let life = match boot::ensure(&self.core).await {
            Ok(life) => life,
            Err(refusal) => return Err(self.without_container(before.as_ref(), refusal)),
        };
        self.row.started_container |=
            before.is_none_or(|before| before.generation != life.generation);
        self.row.generation = Some(life.generation);
        self.start_process(&life).await?;
        self.row.record.status = BuildStatus::Running;
        let written = self.core.records.set_build(&self.row);
        written.map_err(Outcome::Refused)?;
        Ok(life)
    }

    /// What becomes of a build that got no container.
    fn without_container(&self, before: Option<&Life>, refusal: ErrorBody) -> Outcome {
        let life = match self.core.records.life() {
            Ok(life) => life,
            Err(error) => return Outcome::Refused(error),
        };
        // The boot on record may be that of a life that had ended before this build.
        let came_up = life.is_some_and(|life| {
            let own = before.is_none_or(|before| {
                before.generation != life.generation || before.status == SandboxStatus::Running
            });
            own && life.boot_id.is_some()
        });
        let seen = Seen {
            came_up,
            refused: refusal.code != ErrorCode::ContainerUnavailable,
            runs: (refusal.context.reason.as_deref() == Some(boot::CONTAINER_DIED))
                .then_some(false),
            // The way up has waited for as long as it may.
            silent_ms: u64::MAX,
        };
        match seen.reason() {
            None | Some(BuildReason::StartFailed) => Outcome::Refused(refusal),
            Some(reason) => Outcome::Stop(reason),
        }
    }

    async fn start_process(&self, life: &Life) -> Result<(), Outcome> {
        let client = self.core.client(life).map_err(Outcome::Refused)?;
        let body = serde_json::to_string(&self.row.process)
            .map_err(|error| Outcome::Refused(internal("the build could not be sent", error)))?;
        let silent_since = now();
        loop {
            // One without an answer may have begun: the id makes the next one find it.
            match self.begin(client, &body).await {
                Ok(()) => return Ok(()),
                Err(Failure::Refused(error)) => return Err(Outcome::Refused(error)),
                Err(Failure::Silent(_)) => {}
            }
            let runs = self.core.container_running().await.ok();
            if let Some(reason) = Seen::silent(runs, now().since(silent_since)).reason() {
                return Err(Outcome::Stop(reason));
            }
            sleep(ASK_AGAIN_MS).await;
        }
    }

    async fn begin(&self, client: Client<'_>, body: &str) -> Result<(), Failure> {
        if client.process(self.live.id.as_str()).await.is_ok() {
            return Ok(());
        }
        let process = client.start(body.to_owned()).await?;
        let detail = process
            .pid
            .map(|pid| format!("{} as pid {pid}", process.id));
        let generation = self.row.generation.unwrap_or_default();
        let noted = self.core.event(generation, "buildStarted", detail);
        noted.map_err(Failure::Refused)
    }
}
