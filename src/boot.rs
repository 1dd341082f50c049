//! The way up: from no container to a supervisor that answers with its boot.

use std::collections::BTreeMap;
use std::rc::Rc;

use sandbox_protocol::error::{ErrorBody, ErrorCode};
use sandbox_protocol::sandbox::SandboxStatus;

use crate::client::Failure;
use crate::container::{Container, Startup};
use crate::error::{Result, internal, unavailable};
use crate::lifecycle::{BUILD_TICK_MS, OUTLIVE_MS, START_LIMIT_MS, lease};
use crate::platform::{now, random_name, sleep, within};
use crate::records::{Life, Options};
use crate::sandbox::{Core, interrupted};

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
    core.event(generation, "starting", None)?;
    let armed = core.arm(BUILD_TICK_MS).await;
    armed.map_err(|error| internal("the alarm could not be set", error))?;
    core.sync().await?;
    core.announce()?;
    match bring_up(core, container, &life, &options).await {
        Ok(life) => Ok(life),
        Err(error) => {
            give_up(core, container, generation, &error).await?;
            Err(error)
        }
    }
}

async fn bring_up(
    core: &Core,
    container: &Container,
    life: &Life,
    options: &Options,
) -> Result<Life> {
    // What runs now belongs to no life on record: this one has not begun, and others have ended.
    if core.container_running().await? {
        let cleared = within(30_000, container.destroy()).await;
        cleared
            .unwrap_or_else(|| Err("no end in 30 s".into()))
            .map_err(|error| start_failure(&error.to_string()))?;
    }
    let startup = Startup {
        token: life.token.clone(),
        env: BTreeMap::new(),
        enable_internet: options.enable_internet,
    };
    let failed = |error: worker::Error| start_failure(&error.to_string());
    container.start(&startup).await.map_err(failed)?;
    container
        .outlive_eviction(OUTLIVE_MS)
        .await
        .map_err(failed)?;
    let boot_id = first_answer(core, container, life).await?;
    let client = core.client(life)?;
    if !options.env.is_empty() {
        client
            .set_environment(&options.env)
            .await
            .map_err(|failure| silent(&failure))?;
    }
    still_wanted(core, life)?;
    let life = Life {
        status: SandboxStatus::Running,
        boot_id: Some(boot_id),
        last_activity_at: now(),
        ..life.clone()
    };
    core.records.set_life(&life)?;
    core.verified.set(Some(life.generation));
    core.event(life.generation, "running", life.boot_id.clone())?;
    Ok(life)
}

/// Probes until the supervisor answers; its boot. The platform has no event for this.
async fn first_answer(core: &Core, container: &Container, life: &Life) -> Result<String> {
    let client = core.client(life)?;
    loop {
        let failure = match client.health(PROBE_LIMIT_MS).await {
            Ok(health) => return Ok(health.boot_id),
            Err(failure) => failure,
        };
        still_wanted(core, life)?;
        let running = container.running().await;
        if !running.map_err(|error| start_failure(&error.to_string()))? {
            return Err(unavailable(
                "startFailed",
                "the container stopped before its supervisor answered",
            ));
        }
        if now().since(life.started_at) > START_LIMIT_MS {
            return Err(silent(&failure));
        }
        sleep(PROBE_PAUSE_MS).await;
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

fn silent(failure: &Failure) -> ErrorBody {
    let detail = match failure {
        Failure::Silent(detail) => detail.clone(),
        Failure::Refused(error) => error.to_string(),
    };
    unavailable(
        "unreachable",
        format!("the supervisor did not answer: {detail}"),
    )
}

/// What the platform says when it cannot start a container, as an error for the client: worth another
/// try (503) or not (500).
pub(crate) fn start_failure(message: &str) -> ErrorBody {
    let said = message.to_ascii_lowercase();
    let has = |texts: &[&str]| texts.iter().any(|text| said.contains(text));
    if has(&["no container instance", "requesting too many containers"]) {
        return unavailable(
            "noInstance",
            "the platform has no container to give right now",
        );
    }
    if has(&["maximum number of running container instances"]) {
        return unavailable(
            "maxInstances",
            "as many containers run as this deployment may have",
        )
        .suggest("destroy a sandbox, or raise max_instances in wrangler.toml");
    }
    if has(&[
        "no such image",
        "no application that matches",
        "no container application assigned",
        "ran out of memory",
        "too many subprocesses",
    ]) {
        worker::console_error!("the container cannot start: {message}");
        return ErrorBody::new(
            ErrorCode::InternalError,
            "the container cannot start, and trying again will not help; the Worker's log has the detail",
        );
    }
    worker::console_warn!("the container did not start: {message}");
    unavailable("startFailed", "the container did not start")
}
