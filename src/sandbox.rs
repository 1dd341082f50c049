//! What an object knows: one per sandbox id. It owns the container, its records and its alarm.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use futures::FutureExt;
use futures::channel::oneshot;
use sandbox_protocol::error::{ErrorBody, ErrorCode};
use sandbox_protocol::sandbox::{Event, Receipt};
use sandbox_protocol::time::Timestamp;
use worker::{Env, ObjectNamespace, State};

use crate::client::Client;
use crate::container::Container;
use crate::error::{Result, internal, unavailable};
use crate::live::Live;
use crate::platform::{Task, now};
use crate::records::{Life, Records};
use crate::settings::Settings;

/// What one object knows. Everything but the rows is a cache: it may be gone at any moment.
pub(crate) struct Core {
    pub(crate) state: State,
    pub(crate) id: String,
    pub(crate) records: Records,
    pub(crate) settings: Result<Settings>,
    pub(crate) container: Option<Container>,
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
    pub(crate) swept: Cell<bool>,
    /// The last activity that this isolate knows of; the row follows it.
    pub(crate) touched: Cell<Option<Timestamp>>,
    /// The generation whose supervisor this isolate has seen answer with its boot.
    pub(crate) verified: Cell<Option<u64>>,
}

impl Core {
    /// What there is to know of the object of `state` when it begins.
    pub(crate) fn of(state: State, env: &Env) -> Self {
        // An object that is found by its number, as by another session of `wrangler dev`, has no name.
        let number = || state.id().to_string().chars().take(32).collect();
        let id = state.id().name().unwrap_or_else(number);
        let settings = Settings::from_env(env);
        let container = settings.as_ref().ok();
        Self {
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
            touched: Cell::default(),
            verified: Cell::default(),
        }
    }

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

/// The sandbox sleeps, or is on its way to, and the call may not wake it.
pub(crate) fn asleep(core: &Core) -> ErrorBody {
    if core.stopping.borrow().is_some() {
        return interrupted();
    }
    ErrorBody::new(ErrorCode::SandboxNotRunning, "the sandbox is not running")
        .suggest("start a process, a build or a command; this call alone starts nothing")
}
