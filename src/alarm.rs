//! Looking at a sandbox: what an earlier isolate left undone, what is to be done now, and when to look again.

use std::rc::Rc;

use sandbox_protocol::build::BuildReason;
use sandbox_protocol::process::Process;
use sandbox_protocol::routes::Activity;
use sandbox_protocol::sandbox::{Receipt, SandboxStatus};
use sandbox_protocol::time::Timestamp;

use crate::client::Failure;
use crate::error::{Result, internal};
use crate::lifecycle::{self, BuildView, Decision};
use crate::platform::now;
use crate::records::Life;
use crate::sandbox::Core;
use crate::{guard, scope, teardown};

/// How soon to look again at what has just changed, in milliseconds.
const AGAIN_MS: u64 = 1000;

/// How long a supervisor may take to tell what runs, in milliseconds.
const ASK_MS: u64 = 5000;

impl Core {
    /// Takes up what an earlier isolate left undone. Cheap when there is nothing.
    pub(crate) async fn resume(self: &Rc<Self>) -> Result<()> {
        if !self.records.exist()? {
            return Ok(());
        }
        if !self.swept.replace(true) {
            self.records.forget_old(self.settings()?.retention_ms)?;
        }
        self.tend_build()?;
        self.announce()?;
        // An alarm may have been lost with the isolate that was to set it.
        let storage = self.state.storage();
        let lost = |error| internal("the alarm could not be set", error);
        let awake = self
            .records
            .life()?
            .is_some_and(|life| life.status != SandboxStatus::Stopped);
        if awake && storage.get_alarm().await.map_err(lost)?.is_none() {
            self.arm(AGAIN_MS).await.map_err(lost)?;
        }
        Ok(())
    }

    /// Starts the task of a build that has not ended, unless one tends it already.
    fn tend_build(self: &Rc<Self>) -> Result<()> {
        if self.live.borrow().is_none()
            && let Some(row) = self.records.live_build()?
        {
            guard::resume(self, row);
        }
        Ok(())
    }

    /// Sets the alarm for what remains, or clears it when nothing does.
    pub(crate) async fn settle(self: &Rc<Self>) -> Result<()> {
        self.announce()?;
        let settled = if self.is_at_rest()? {
            self.state.storage().delete_alarm().await
        } else {
            self.arm(AGAIN_MS).await
        };
        settled.map_err(|error| internal("the alarm could not be set", error))
    }

    /// Clears the alarm of a sandbox that needs none, once the registry knows that it sleeps.
    async fn rest(&self) -> Result<()> {
        self.records.forget_ended_scopes()?;
        let told = self.announce_now().await;
        if !self.is_at_rest()? {
            // It was started meanwhile, and has its alarm from there.
            return Ok(());
        }
        let set = match told {
            Ok(()) => self.state.storage().delete_alarm().await,
            Err(error) => {
                worker::console_warn!("it will be announced again: {error}");
                self.arm(lifecycle::TICK_MS).await
            }
        };
        set.map_err(|error| internal("the alarm could not be set", error))
    }

    fn is_at_rest(&self) -> Result<bool> {
        let stopped = self
            .records
            .life()?
            .is_none_or(|life| life.status == SandboxStatus::Stopped);
        Ok(stopped && self.starting.borrow().is_none() && self.records.live_build()?.is_none())
    }

    /// One look at the sandbox, and what follows from it.
    pub(crate) async fn tick(self: &Rc<Self>) -> Result<()> {
        let decision = self.look().await?;
        if decision != Decision::Rest {
            self.announce()?;
        }
        match decision {
            Decision::Rest => return self.rest().await,
            Decision::Watch(ms) => {
                if let Ok(container) = self.container()
                    && let Err(error) = container.outlive_eviction(lifecycle::OUTLIVE_MS).await
                {
                    worker::console_warn!("the inactivity timeout could not be set: {error}");
                }
                let armed = self.arm(ms).await;
                return armed.map_err(|error| internal("the alarm could not be set", error));
            }
            Decision::TendBuild => self.tend_build()?,
            Decision::NoteDeath => teardown::note_death(self).await?,
            Decision::Destroy(why) => {
                self.end(why).await;
            }
        }
        Ok(())
    }

    /// Destroys the sandbox, with the build in it if there is one.
    pub(crate) async fn end(self: &Rc<Self>, why: &str) -> Receipt {
        let live = self.live.borrow().clone();
        match live {
            Some(live) => live.cancel(BuildReason::Destroyed).await.1,
            None => teardown::destroy(self, why).await,
        }
    }

    /// What runs in `life`, if its supervisor says.
    async fn ask_what_runs(&self, life: &Life) -> Option<Told> {
        let client = self.client(life).ok()?;
        let activity = match client.activity(ASK_MS).await {
            Ok(activity) => activity,
            // One that was started before there was the question.
            Err(Failure::Refused(_)) => Activity::default(),
            Err(Failure::Silent(_)) => return None,
        };
        // Last, for it is written down.
        let processes = client.processes(ASK_MS).await.ok()?;
        Some(Told {
            processes,
            activity,
        })
    }

    /// Keeps what is told of processes that run, and of those that were on record as running, and when anything ran
    /// last.
    fn keep_told(&self, life: &mut Life, told: &Told, ceiling_ms: u64) -> Result<()> {
        let open = self.records.open_processes(life.generation)?;
        let mut news = told.processes.clone();
        news.retain(|process| !process.status.is_final() || open.contains(&process.id));
        self.records.keep_processes(life.generation, &news)?;
        let pinned = lifecycle::pins(&told.running_since(), now(), ceiling_ms);
        // Its clock is not ours.
        let ended_at = told.ended_at().map(|at| at.min(now()));
        let busy_at = if pinned { Some(now()) } else { ended_at };
        if busy_at > life.last_busy_at {
            life.last_busy_at = busy_at;
            self.records.set_life(life)?;
        }
        Ok(())
    }

    async fn look(self: &Rc<Self>) -> Result<Decision> {
        let mut life = self.records.life()?;
        let build = match (self.live.borrow().is_some(), self.records.live_build()?) {
            (true, _) => BuildView::Tended,
            (false, Some(_)) => BuildView::Untended,
            (false, None) => BuildView::None,
        };
        let container_running = self.container_running().await?;
        let told = match &life {
            Some(life) if life.status == SandboxStatus::Running && container_running => {
                self.ask_what_runs(life).await
            }
            _ => None,
        };
        if self.records.life()? != life {
            // It went on while the engine and the supervisor were asked: what they said is of no life now.
            return Ok(Decision::Watch(AGAIN_MS));
        }
        let ceiling_ms = self.settings()?.max_keep_alive_ms;
        if let Some(life) = &mut life {
            life.last_activity_at = self.last_activity(life);
            if let Some(told) = &told {
                self.keep_told(life, told, ceiling_ms)?;
            }
        }
        let running_since = told.map(|told| told.running_since());
        Ok(lifecycle::decide(&lifecycle::View {
            now: now(),
            life: life.as_ref(),
            options: &self.records.options()?,
            ceiling_ms,
            container_running,
            build,
            in_hand: self.starting.borrow().is_some() || self.stopping.borrow().is_some(),
            scope: scope::look(self)?,
            running_since: running_since.as_deref(),
        }))
    }
}

/// What a supervisor tells of its sandbox.
struct Told {
    processes: Vec<Process>,
    activity: Activity,
}

impl Told {
    /// Since when each process runs, and the newest call that is still being answered.
    fn running_since(&self) -> Vec<Timestamp> {
        let running = self
            .processes
            .iter()
            .filter(|process| !process.status.is_final());
        let started = running.map(|process| process.start_time);
        started.chain(self.activity.open_since).collect()
    }

    /// When the last process or call ended.
    fn ended_at(&self) -> Option<Timestamp> {
        let ended = self.processes.iter().filter_map(|process| process.end_time);
        ended.chain(self.activity.ended_at).max()
    }
}
