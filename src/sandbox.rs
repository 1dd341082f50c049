//! The object: one per sandbox id. Owns the container, its records and its alarm.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use futures::FutureExt;
use futures::channel::oneshot;
use futures::future::{LocalBoxFuture, Shared};
use sandbox_protocol::build::BuildReason;
use sandbox_protocol::error::{ErrorBody, ErrorCode};
use sandbox_protocol::process::Process;
use sandbox_protocol::sandbox::{Event, KeepAlive, Receipt, Sandbox as View, SandboxStatus};
use sandbox_protocol::time::Timestamp;
use worker::{DurableObject, Env, ObjectNamespace, Request, Response, State, durable_object};

use crate::client::{Client, Failure};
use crate::container::Container;
use crate::error::{Result, internal, unavailable};
use crate::guard::{self, Live};
use crate::lifecycle::{self, BuildView, Decision};
use crate::platform::{now, within};
use crate::records::{Life, Records};
use crate::settings::Settings;
use crate::{calls, scope, teardown};

/// What one object knows. Everything but the rows is a cache: it may be gone at any moment.
pub(crate) struct Core {
    pub(crate) state: State,
    pub(crate) id: String,
    pub(crate) records: Records,
    pub(crate) settings: Result<Settings>,
    container: Option<Container>,
    /// The start under way, shared by everyone who waits for it.
    pub(crate) starting: RefCell<Option<Task<Result<Life>>>>,
    /// The destroy under way, likewise.
    pub(crate) stopping: RefCell<Option<Task<Receipt>>>,
    /// The build that a task of this isolate tends.
    pub(crate) live: RefCell<Option<Rc<Live>>>,
    /// Where it announces itself; a Worker of somebody else need not have one.
    pub(crate) registry: Option<ObjectNamespace>,
    /// The scopes whose streams this isolate holds, and how to end each.
    pub(crate) scopes: RefCell<HashMap<String, oneshot::Sender<()>>>,
    /// Whether this isolate has forgotten what was too old when it began.
    swept: Cell<bool>,
    /// The generation whose supervisor this isolate has seen answer with its boot.
    pub(crate) verified: Cell<Option<u64>>,
}

/// Work of this isolate that several callers wait for.
pub(crate) type Task<T> = Shared<LocalBoxFuture<'static, T>>;

/// The Durable Object class of wrangler.toml.
#[durable_object(alarm)]
pub struct Sandbox {
    core: Rc<Core>,
}

impl DurableObject for Sandbox {
    fn new(state: State, env: Env) -> Self {
        let id = state.id().name().unwrap_or_default();
        let settings = Settings::from_env(&env);
        let container = settings.as_ref().ok();
        let core = Core {
            container: container.and_then(|settings| Container::of(&state, settings, &id)),
            records: Records::of(&state),
            settings,
            id,
            state,
            starting: RefCell::default(),
            stopping: RefCell::default(),
            live: RefCell::default(),
            registry: env.durable_object(crate::registry::BINDING).ok(),
            scopes: RefCell::default(),
            swept: Cell::default(),
            verified: Cell::default(),
        };
        Self {
            core: Rc::new(core),
        }
    }

    async fn fetch(&self, request: Request) -> worker::Result<Response> {
        let answered = match self.core.resume().await {
            Ok(()) => calls::answer(&self.core, request).await,
            Err(error) => Err(error),
        };
        answered.or_else(|error| crate::error::response(&error))
    }

    async fn alarm(&self) -> worker::Result<Response> {
        // First what makes the next tick certain, then what may fail.
        self.core.arm(lifecycle::BUILD_TICK_MS).await?;
        self.core
            .tick()
            .await
            .map_err(|error| worker::Error::from(error.to_string()))?;
        Response::empty()
    }
}

impl Core {
    /// The container, or why there cannot be one here.
    pub(crate) fn container(&self) -> Result<&Container> {
        self.container.as_ref().ok_or_else(|| {
            unavailable(
                "noEngine",
                "this Worker runs with neither containers nor a local engine",
            )
            .suggest("start it with `make dev`, or deploy it with its [[containers]]")
        })
    }

    pub(crate) fn settings(&self) -> Result<&Settings> {
        self.settings.as_ref().map_err(Clone::clone)
    }

    /// The client of the supervisor of `life`.
    pub(crate) fn client<'a>(&'a self, life: &'a Life) -> Result<Client<'a>> {
        Ok(Client {
            container: self.container()?,
            token: &life.token,
        })
    }

    /// Looks at the sandbox again in `ms` milliseconds.
    pub(crate) async fn arm(&self, ms: u64) -> worker::Result<()> {
        let storage = self.state.storage();
        storage.set_alarm(Duration::from_millis(ms)).await
    }

    /// Makes what was written so far survive a crash.
    pub(crate) async fn sync(&self) -> Result<()> {
        let synced = self.state.storage().sync().await;
        synced.map_err(|error| internal("the records could not be saved", error))
    }

    /// Runs `work` to its end whatever becomes of the request that asked for it, and shares its result.
    pub(crate) fn task<T: Clone + 'static>(
        &self,
        work: impl Future<Output = T> + 'static,
    ) -> Task<T> {
        let task = work.boxed_local().shared();
        let driver = task.clone();
        self.state.wait_until(async move {
            driver.await;
        });
        task
    }

    /// Takes up what an earlier isolate left undone. Cheap when there is nothing.
    async fn resume(self: &Rc<Self>) -> Result<()> {
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
            self.arm(1000).await.map_err(lost)?;
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
        let rests = self.starting.borrow().is_none()
            && self.records.live_build()?.is_none()
            && self
                .records
                .life()?
                .is_none_or(|life| life.status == SandboxStatus::Stopped);
        let settled = if rests {
            self.state.storage().delete_alarm().await
        } else {
            self.arm(1000).await
        };
        settled.map_err(|error| internal("the alarm could not be set", error))
    }

    /// One look at the sandbox, and what follows from it.
    async fn tick(self: &Rc<Self>) -> Result<()> {
        self.announce()?;
        let decision = self.look().await?;
        match decision {
            Decision::Rest => {
                self.records.forget_ended_scopes()?;
                let deleted = self.state.storage().delete_alarm().await;
                return deleted.map_err(|error| internal("the alarm could not be cleared", error));
            }
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

    async fn look(self: &Rc<Self>) -> Result<Decision> {
        let mut life = self.records.life()?;
        let build = match (self.live.borrow().is_some(), self.records.live_build()?) {
            (true, _) => BuildView::Tended,
            (false, Some(_)) => BuildView::Untended,
            (false, None) => BuildView::None,
        };
        let container_running = self.container_running().await?;
        let processes = match &life {
            Some(life) if life.status == SandboxStatus::Running && container_running => {
                self.running_processes(life).await
            }
            _ => None,
        };
        if let (Some(life), Some(processes)) = (&life, &processes) {
            self.records.keep_processes(life.generation, processes)?;
        }
        let ceiling_ms = self.settings()?.max_keep_alive_ms;
        let running_since: Option<Vec<Timestamp>> =
            processes.map(|processes| processes.iter().map(|process| process.start_time).collect());
        if let Some(life) = &mut life
            && running_since
                .as_ref()
                .is_some_and(|running| lifecycle::pins(running, now(), ceiling_ms))
        {
            life.last_busy_at = Some(now());
            self.records.set_life(life)?;
        }
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

    /// The processes that run, if the supervisor says.
    async fn running_processes(&self, life: &Life) -> Option<Vec<Process>> {
        let client = self.client(life).ok()?;
        let mut processes = client.processes(5000).await.ok()?;
        processes.retain(|process| !process.status.is_final());
        Some(processes)
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
        if let Some(mut life) = self.records.life()?
            && now().since(life.last_activity_at) >= 5000
        {
            life.last_activity_at = now();
            self.records.set_life(&life)?;
        }
        Ok(())
    }

    /// Adds to the lifecycle log.
    pub(crate) fn event(&self, generation: u64, event: &str, detail: Option<String>) -> Result<()> {
        self.record_event(generation, event, detail, None)
    }

    /// Adds to the lifecycle log what can happen only once in a life.
    pub(crate) fn event_once(
        &self,
        generation: u64,
        event: &str,
        detail: Option<String>,
    ) -> Result<()> {
        self.record_event(
            generation,
            event,
            detail,
            Some(format!("{generation}/{event}")),
        )
    }

    fn record_event(
        &self,
        generation: u64,
        event: &str,
        detail: Option<String>,
        once: Option<String>,
    ) -> Result<()> {
        let event = Event {
            timestamp: now(),
            event: event.to_owned(),
            generation,
            detail,
        };
        self.records.add_event(&event, once)
    }

    /// The sandbox as every route tells of it. Looking writes nothing.
    pub(crate) async fn view(self: &Rc<Self>) -> Result<View> {
        let options = self.records.options()?;
        let build = self.records.live_build()?;
        let running = self.running_life().await?;
        let processes = match &running {
            Some(life) => self.running_processes(life).await,
            None => None,
        };
        let life = self.records.life()?;
        let status = life
            .as_ref()
            .map_or(SandboxStatus::Stopped, |life| life.status);
        let up = life.filter(|_| status != SandboxStatus::Stopped);
        let lease = up.as_ref().and_then(|life| life.lease_until);
        Ok(View {
            id: self.id.clone(),
            status,
            boot_id: up.as_ref().and_then(|life| life.boot_id.clone()),
            started_at: up.as_ref().map(|life| life.started_at),
            last_activity_at: self.records.life()?.map(|life| life.last_activity_at),
            sleep_after_ms: options.sleep_after_ms,
            keep_alive: lease
                .filter(|until| *until > now())
                .map(|expires_at| KeepAlive { expires_at }),
            running_processes: processes.map_or(0, |running| {
                u32::try_from(running.len()).unwrap_or(u32::MAX)
            }),
            build: build.map(|row| guard::present(&row)),
        })
    }
}

/// A call came while the sandbox is being destroyed; it does not bring it back.
pub(crate) fn interrupted() -> ErrorBody {
    ErrorBody::new(
        ErrorCode::OperationInterrupted,
        "the sandbox is being destroyed",
    )
    .with(|context| context.retryable = Some(true))
    .suggest("send the request again; it then starts the sandbox anew")
}
