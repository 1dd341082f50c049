//! What there is of a sandbox right now: its container, the life that can be asked, and how all of it is told.

use std::rc::Rc;

use sandbox_protocol::sandbox::{KeepAlive, Sandbox as View, SandboxStatus};
use sandbox_protocol::time::Timestamp;

use crate::client::Failure;
use crate::error::{Result, unavailable};
use crate::platform::{now, within};
use crate::records::Life;
use crate::sandbox::Core;
use crate::{guard, teardown};

impl Core {
    /// Whether the container runs; `false` where there can be none.
    pub(crate) async fn container_running(&self) -> Result<bool> {
        let Some(container) = &self.container else {
            return Ok(false);
        };
        let running = within(10_000, container.running()).await;
        running
            .unwrap_or_else(|| Err("no answer in 10 s".into()))
            .map_err(|error| unavailable("engine", format!("the engine does not answer: {error}")))
    }

    /// The life whose supervisor can be asked now; never starts a container. A container that is gone,
    /// or is not the one on record, is noted and cleared on the way.
    pub(crate) async fn running_life(self: &Rc<Self>) -> Result<Option<Life>> {
        let Some(life) = self.records.life()? else {
            return Ok(None);
        };
        if life.status != SandboxStatus::Running {
            return Ok(None);
        }
        if !self.container_running().await? {
            if self.live.borrow().is_none() {
                teardown::note_death(self).await?;
            }
            return Ok(None);
        }
        if self.verified.get() != Some(life.generation) {
            match self.client(&life)?.health(5000).await {
                Ok(health) if Some(&health.boot_id) == life.boot_id.as_ref() => {
                    self.verified.set(Some(life.generation));
                }
                Ok(_) | Err(Failure::Refused(_)) => {
                    teardown::destroy(self, "foreignBoot").await;
                    return Ok(None);
                }
                Err(Failure::Silent(detail)) => {
                    return Err(unavailable(
                        "unreachable",
                        format!("the supervisor does not answer: {detail}"),
                    ));
                }
            }
        }
        Ok(Some(life))
    }

    /// Notes activity. Written at most every 5 s: what a crash can lose shortens an idle time by that.
    pub(crate) fn touch(&self) -> Result<()> {
        self.touched.set(Some(now()));
        if let Some(mut life) = self.records.life()?
            && now().since(life.last_activity_at) >= 5000
        {
            life.last_activity_at = now();
            self.records.set_life(&life)?;
        }
        Ok(())
    }

    /// The last activity in `life`.
    pub(crate) fn last_activity(&self, life: &Life) -> Timestamp {
        let touched = self.touched.get();
        touched.map_or(life.last_activity_at, |at| at.max(life.last_activity_at))
    }

    /// The sandbox as every route tells of it. Looking writes nothing.
    pub(crate) async fn view(self: &Rc<Self>) -> Result<View> {
        let running = self.running_life().await?;
        let mut processes = Vec::new();
        if let Some(life) = &running {
            // One that does not answer now has none to tell of.
            let told = self.client(life)?.processes(5000).await;
            processes = told.unwrap_or_default();
        }
        processes.retain(|process| !process.status.is_final());
        let running = processes.len();
        let build = self.records.live_build()?;
        let mut view = self.on_record()?;
        view.keep_alive = view.keep_alive.filter(|lease| lease.expires_at > now());
        view.running_processes = u32::try_from(running).unwrap_or(u32::MAX);
        view.build = build.map(|row| guard::present(&row));
        Ok(view)
    }

    /// The sandbox as its rows have it: no process is counted, no build told, and a lease may be over.
    pub(crate) fn on_record(&self) -> Result<View> {
        let options = self.records.options()?;
        let life = self.records.life()?;
        let status = life
            .as_ref()
            .map_or(SandboxStatus::Stopped, |life| life.status);
        let last_activity_at = life.as_ref().map(|life| self.last_activity(life));
        let up = life.filter(|_| status != SandboxStatus::Stopped);
        let lease = up.as_ref().and_then(|life| life.lease_until);
        Ok(View {
            id: self.id.clone(),
            status,
            boot_id: up.as_ref().and_then(|life| life.boot_id.clone()),
            started_at: up.as_ref().map(|life| life.started_at),
            last_activity_at,
            sleep_after_ms: options.sleep_after_ms,
            keep_alive: lease.map(|expires_at| KeepAlive { expires_at }),
            running_processes: 0,
            build: None,
        })
    }
}
