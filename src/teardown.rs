//! The way down: every process terminated, its record kept, the container destroyed, and a receipt.

use std::rc::Rc;

use sandbox_protocol::process::{ExitReason, Process};
use sandbox_protocol::sandbox::{Ended, Outcome, Receipt, SandboxStatus};
use sandbox_protocol::signal::Signal;

use crate::error::{Result, internal};
use crate::lifecycle::IDLE;
use crate::platform::{now, within};
use crate::records::{Life, lost};
use crate::sandbox::Core;

/// How long the trees may take to end, in milliseconds; then they go with the container.
const TERMINATE_MS: u64 = 15_000;

/// How long the container may take to end, in milliseconds; the alarm goes on after that.
const DESTROY_MS: u64 = 30_000;

/// Destroys the sandbox and answers when it is gone. Everyone who asks meanwhile shares one destroy.
/// Idempotent: without a container it says so.
pub(crate) async fn destroy(core: &Rc<Core>, why: &str) -> Receipt {
    let under_way = core.stopping.borrow().clone();
    let stop = under_way.unwrap_or_else(|| {
        let (owner, why) = (Rc::clone(core), why.to_owned());
        let stop = core.task(async move {
            let receipt = stop(&owner, &why).await;
            owner.stopping.take();
            // The build's task settles when the build is over, and the alarm what is unfinished.
            if receipt.container_destroyed
                && owner.live.borrow().is_none()
                && let Err(error) = owner.settle().await
            {
                worker::console_error!("{error}");
            }
            receipt
        });
        core.stopping.replace(Some(stop.clone()));
        stop
    });
    stop.await
}

async fn stop(core: &Rc<Core>, why: &str) -> Receipt {
    let started = now();
    let mut receipt = Receipt {
        id: core.id.clone(),
        was_running: false,
        processes: Vec::new(),
        survivors: Vec::new(),
        container_destroyed: true,
        took_ms: 0,
    };
    if let Err(error) = take_down(core, why, &mut receipt).await {
        // The alarm finds the row `stopping` and goes on.
        worker::console_error!("the destroy is unfinished: {error}");
        receipt.container_destroyed = false;
    }
    receipt.took_ms = now().since(started);
    receipt
}

async fn take_down(core: &Rc<Core>, why: &str, receipt: &mut Receipt) -> Result<()> {
    let Some(mut life) = core.records.life()? else {
        return Ok(());
    };
    let runs = core.container_running().await?;
    if life.status == SandboxStatus::Stopped && !runs {
        return Ok(());
    }
    receipt.was_running = runs;
    let answered = life.status == SandboxStatus::Running;
    life.status = SandboxStatus::Stopping;
    life.lease_until = None;
    life.last_activity_at = core.last_activity(&life);
    core.records.set_life(&life)?;
    core.event(life.generation, "stopping", Some(why.to_owned()))?;
    let armed = core.arm(crate::lifecycle::BUILD_TICK_MS).await;
    armed.map_err(|error| internal("the alarm could not be set", error))?;
    core.sync().await?;
    if runs && answered {
        terminate(core, &life, why, receipt).await?;
    }
    let destroyed = within(DESTROY_MS, core.container()?.destroy()).await;
    destroyed
        .unwrap_or_else(|| Err("no end in 30 s".into()))
        .map_err(|error| internal("the container could not be destroyed", error))?;
    life.status = SandboxStatus::Stopped;
    core.records.set_life(&life)?;
    core.records.lose_processes(life.generation, now())?;
    core.records.forget_ended_scopes()?;
    core.records.forget_old(core.settings()?.retention_ms)?;
    core.verified.set(None);
    core.event_once(life.generation, "destroyed", Some(why.to_owned()))
}

/// Ends every tree and keeps the final records. A supervisor that does not answer is no obstacle: what it
/// runs goes with the container.
async fn terminate(core: &Rc<Core>, life: &Life, why: &str, receipt: &mut Receipt) -> Result<()> {
    let client = core.client(life)?;
    let Ok(before) = client.processes(5000).await else {
        return Ok(());
    };
    let running = |process: &&Process| !process.status.is_final();
    let ran: Vec<String> = before
        .iter()
        .filter(running)
        .map(|process| process.id.clone())
        .collect();
    if !ran.is_empty()
        && let Ok(killed) = client.kill_all(TERMINATE_MS).await
    {
        receipt.survivors = killed.survivors;
    }
    let after = client.processes(5000).await.unwrap_or(before);
    receipt.processes = after
        .iter()
        .filter(|process| ran.contains(&process.id))
        .map(ended)
        .collect();
    let asleep = |process: Process| {
        if why == IDLE && ran.contains(&process.id) {
            stopped(process)
        } else {
            process
        }
    };
    let last: Vec<Process> = after.into_iter().map(gone).map(asleep).collect();
    core.records.keep_processes(life.generation, &last)
}

fn ended(process: &Process) -> Ended {
    let outcome = match (process.reason, process.signal) {
        (Some(ExitReason::Exited | ExitReason::Signaled), _) => Outcome::Exited,
        (Some(_), signal) if signal != Some(Signal::KILL) => Outcome::Terminated,
        _ => Outcome::Killed,
    };
    Ended {
        id: process.id.clone(),
        pid: process.pid,
        outcome,
    }
}

/// The final record of a process that goes with its container: nobody sees it end.
fn gone(process: Process) -> Process {
    if process.status.is_final() {
        return process;
    }
    lost(process, now())
}

/// The final record of a process that nobody killed: its sandbox went to sleep.
fn stopped(process: Process) -> Process {
    if process.reason != Some(ExitReason::Killed) {
        return process;
    }
    Process {
        status: ExitReason::ContainerStopped.status(None),
        reason: Some(ExitReason::ContainerStopped),
        ..process
    }
}

/// Notes that the container is gone without anybody here having asked for it.
pub(crate) async fn note_death(core: &Rc<Core>) -> Result<()> {
    if let Some(life) = core.records.life()?
        && life.status == SandboxStatus::Running
    {
        core.event_once(life.generation, "containerDied", None)?;
        // The engine may have begun to bring it up again behind our back.
        destroy(core, "containerDied").await;
    }
    Ok(())
}
