//! The way up: from no container to a supervisor that answers with its boot.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::rc::Rc;

use sandbox_protocol::error::{ErrorBody, ErrorCode};
use sandbox_protocol::sandbox::SandboxStatus;

use crate::client::Failure;
use crate::container::{Container, Startup};
use crate::error::{Result, internal, unavailable};
use crate::lifecycle::{BUILD_TICK_MS, OUTLIVE_MS, START_LIMIT_MS, lease};
use crate::platform::{now, random_name, sleep, within};
use crate::records::{Life, Options};
use crate::refusal::Refusal;
use crate::sandbox::{Core, interrupted};

/// The reason of an error whose container had come up and is gone.
pub(crate) const CONTAINER_DIED: &str = "containerDied";

/// How long the supervisor may take over one probe, in milliseconds.
const PROBE_LIMIT_MS: u64 = 5000;

/// The pause between two probes, in milliseconds.
const PROBE_PAUSE_MS: u64 = 50;

/// The life of a container that answers, started if there is none. Everyone who asks meanwhile shares one
/// start, which goes on although they leave.
pub(crate) async fn ensure(core: &Rc<Core>) -> Result<Life> {
    if core.stopping.borrow().is_some() {
        return Err(interrupted());
    }
    let under_way = core.starting.borrow().clone();
    if let Some(start) = under_way {
        return start.await;
    }
    if let Some(life) = core.running_life().await? {
        return Ok(life);
    }
    // The look at the container took a while; somebody else may have begun, or be about to destroy it.
    if core.stopping.borrow().is_some() {
        return Err(interrupted());
    }
    let under_way = core.starting.borrow().clone();
    let start = under_way.unwrap_or_else(|| {
        let owner = Rc::clone(core);
        let start = core.task(async move {
            let started = start(&owner).await;
            owner.starting.take();
            if started.is_err()
                && let Err(error) = owner.settle().await
            {
                worker::console_error!("{error}");
            }
            started
        });
        core.starting.replace(Some(start.clone()));
        start
    });
    start.await
}

async fn start(core: &Rc<Core>) -> Result<Life> {
    let container = core.container()?;
    let options = core.records.options()?;
    let generation = core.records.life()?.map_or(0, |life| life.generation) + 1;
    let life = Life {
        generation,
        status: SandboxStatus::Starting,
        token: random_name(52),
        boot_id: None,
        started_at: now(),
        last_activity_at: now(),
        last_busy_at: None,
        lease_until: lease(
            options.keep_alive,
            now(),
            core.settings()?.max_keep_alive_ms,
        ),
    };
    core.records.set_life(&life)?;
    close_unheld_scopes(core)?;
    core.event(generation, "starting", None)?;
    let armed = core.arm(BUILD_TICK_MS).await;
    armed.map_err(|error| internal("the alarm could not be set", error))?;
    core.sync().await?;
    core.announce()?;
    match bring_up(core, container, &life, &options).await {
        Ok(life) => {
            core.announce()?;
            core.state
                .wait_until(keep_limits(Rc::clone(core), life.clone()));
            Ok(life)
        }
        Err(error) => {
            give_up(core, container, generation, &error).await?;
            Err(error)
        }
    }
}

/// A scope that nobody holds belonged to an earlier life: it has nothing left to destroy.
fn close_unheld_scopes(core: &Core) -> Result<()> {
    for scope in core.records.scopes()? {
        if !core.scopes.borrow().contains_key(&scope.id) {
            core.records.close_scope(&scope.id)?;
        }
    }
    Ok(())
}

/// Remembers the limits that are in force in this container, for when it is gone. Nobody waits for it.
async fn keep_limits(core: Rc<Core>, life: Life) {
    let kept = async {
        let limits = core.client(&life)?.limits().await;
        let limits = limits.map_err(|failure| internal("the limits", format!("{failure:?}")))?;
        core.records.set_limits(&limits)
    };
    if let Err(error) = kept.await {
        worker::console_warn!("the limits are not kept: {error}");
    }
}

/// From no container to a supervisor that answers, within the time that a start has.
async fn bring_up(
    core: &Core,
    container: &Container,
    life: &Life,
    options: &Options,
) -> Result<Life> {
    // What was last said tells more than that the time is over.
    let last = RefCell::default();
    let up = within(START_LIMIT_MS, climb(core, container, life, options, &last)).await;
    up.unwrap_or_else(|| {
        let said = last.take();
        worker::console_warn!("no answer in {START_LIMIT_MS} ms; last: {said}");
        Err(unavailable(
            "timedOut",
            format!("the container did not answer in {START_LIMIT_MS} ms"),
        ))
    })
}

async fn climb(
    core: &Core,
    container: &Container,
    life: &Life,
    options: &Options,
    last: &RefCell<String>,
) -> Result<Life> {
    // What runs now belongs to no life on record: this one has not begun, and others have ended.
    if core.container_running().await? {
        container.destroy().await.map_err(told)?;
    }
    let startup = Startup {
        token: life.token.clone(),
        env: BTreeMap::from([(
            "SANDBOX_HEARTBEAT".to_owned(),
            format!("{}ms", core.settings()?.heartbeat_ms),
        )]),
        enable_internet: options.enable_internet,
    };
    container.start(&startup).await.map_err(told)?;
    container.outlive_eviction(OUTLIVE_MS).await.map_err(told)?;
    let boot_id = first_answer(core, container, life, last).await?;
    still_wanted(core, life)?;
    let up = Life {
        boot_id: Some(boot_id),
        last_activity_at: now(),
        ..life.clone()
    };
    // From here on, what goes wrong went wrong with a container that was up.
    core.records.set_life(&up)?;
    let client = core.client(&up)?;
    if !options.env.is_empty()
        && let Err(failure) = client.set_environment(&options.env).await
    {
        return Err(fell_silent(core, &failure).await);
    }
    still_wanted(core, &up)?;
    let up = Life {
        status: SandboxStatus::Running,
        ..up
    };
    core.records.set_life(&up)?;
    core.verified.set(Some(up.generation));
    core.event(up.generation, "running", up.boot_id.clone())?;
    Ok(up)
}

/// Probes until the supervisor answers; its boot. The platform has no event for this.
async fn first_answer(
    core: &Core,
    container: &Container,
    life: &Life,
    last: &RefCell<String>,
) -> Result<String> {
    let client = core.client(life)?;
    loop {
        let said = match client.health(PROBE_LIMIT_MS).await {
            Ok(health) => return Ok(health.boot_id),
            Err(Failure::Silent(detail)) => detail,
            Err(Failure::Refused(error)) => error.to_string(),
        };
        still_wanted(core, life)?;
        if Refusal::of(&said).is_final() {
            return Err(told(said));
        }
        if !container.running().await.map_err(told)? {
            return Err(told(why_stopped(container).await));
        }
        last.replace(said);
        sleep(PROBE_PAUSE_MS).await;
    }
}

/// What the platform says of a container that stopped before it answered.
async fn why_stopped(container: &Container) -> String {
    let said = within(PROBE_LIMIT_MS, container.stopped()).await.flatten();
    said.unwrap_or_else(|| "the container did not start: it stopped before it answered".into())
}

/// Why a supervisor that had answered does not any more.
async fn fell_silent(core: &Core, failure: &Failure) -> ErrorBody {
    worker::console_warn!("after its first answer: {failure:?}");
    match core.container_running().await {
        Ok(false) => unavailable(CONTAINER_DIED, "the container stopped as it came up"),
        _ => unavailable("unreachable", "the supervisor fell silent as it came up"),
    }
}

/// Refuses to go on when a destroy came in between.
fn still_wanted(core: &Core, life: &Life) -> Result<()> {
    let current = core.records.life()?;
    let wanted = current.is_some_and(|current| {
        current.generation == life.generation && current.status == SandboxStatus::Starting
    });
    if wanted { Ok(()) } else { Err(interrupted()) }
}

async fn give_up(
    core: &Core,
    container: &Container,
    generation: u64,
    error: &ErrorBody,
) -> Result<()> {
    if error.code == ErrorCode::OperationInterrupted {
        return Ok(());
    }
    core.event(generation, "startFailed", Some(error.error.clone()))?;
    let destroyed = within(30_000, container.destroy()).await;
    let destroyed = destroyed.unwrap_or_else(|| Err("no end in 30 s".into()));
    // One that could not be destroyed stays `starting` on record: the alarm goes on with it.
    if let Err(error) = destroyed {
        worker::console_warn!("after a failed start: {error}");
        return Ok(());
    }
    if let Some(life) = core.records.life()?
        && life.generation == generation
        && life.status == SandboxStatus::Starting
    {
        core.records.set_life(&Life {
            status: SandboxStatus::Stopped,
            ..life
        })?;
        core.event_once(generation, "destroyed", Some("startFailed".to_owned()))?;
    }
    Ok(())
}

/// The error for the client of what the platform refused, whose words are for the log.
fn told(message: impl Display) -> ErrorBody {
    let message = message.to_string();
    let refusal = Refusal::of(&message);
    worker::console_warn!("the container did not start: {message} ({refusal:?})");
    refusal.error()
}
