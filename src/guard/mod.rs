//! The finally: a build runs, and whatever happens its sandbox is destroyed once, its record and its log
//! are kept.
//!
//! One task per build does everything, never a request's future, which dies with its request. It goes by
//! the build's row: when the isolate dies the task dies with it, and the next isolate starts another from
//! the row. Every step can be done twice.
//!
//! ```text
//!   starting ──▶ running ──▶ destroying ──▶ succeeded · failed · cancelled · timedOut · lost
//!      │  refused, no container                ▲
//!      └───────────────────────────────────────┘
//! ```
//!
//! Without a process to ask, the reason is `startFailed` when the container never came up or the process was
//! refused, `containerDied` when it came up and is gone, `lost` when nobody can tell.

mod outcome;
mod save;
mod start;
mod task;
mod watch;

use std::rc::Rc;

use futures::channel::{mpsc, oneshot};
use sandbox_protocol::build::{Build, BuildRequest, BuildStatus, OnDisconnect};
use sandbox_protocol::cursor::{Cursor, Position};
use sandbox_protocol::error::{ErrorBody, ErrorCode};
use sandbox_protocol::id::BuildId;
use sandbox_protocol::sandbox::Receipt;

use crate::error::{Result, internal};
use crate::lifecycle::BUILD_TICK_MS;
use crate::live::{FIRST_SEAT, Live, Presence};
use crate::platform::{now, random_name};
use crate::records::BuildRow;
use crate::sandbox::Core;

use task::Guard;

/// Writes the build down, then starts its task. The error is `BUILD_IN_PROGRESS`, or what is wrong with
/// the request; then nothing was started.
pub(crate) async fn begin(core: &Rc<Core>, request: &BuildRequest) -> Result<Rc<Live>> {
    let name = format!("b{}", random_name(15));
    let id = BuildId::parse(&name).ok_or_else(|| internal("no name for the build", name))?;
    let ceiling_ms = core.settings()?.max_keep_alive_ms;
    let process = request.validate(&id, ceiling_ms)?;
    core.container()?;
    refuse_second(core)?;
    let row = BuildRow {
        record: Build {
            id: id.to_string(),
            build_id: id.to_string(),
            command: request.command_line()?,
            cwd: request.absolute_cwd()?,
            status: BuildStatus::Starting,
            reason: None,
            exit_code: None,
            signal: None,
            matched: false,
            duration_ms: 0,
            log_bytes: 0,
            log_complete: false,
            destroyed: false,
            started_at: now(),
            ended_at: None,
            timestamp: now(),
        },
        generation: None,
        process,
        on_disconnect: request.on_disconnect.unwrap_or_default(),
        started_container: false,
        saved: None,
    };
    core.records.set_build(&row)?;
    let presence = match row.on_disconnect {
        OnDisconnect::Continue => Presence::NotNeeded,
        OnDisconnect::Cancel => Presence::Seated(FIRST_SEAT),
    };
    let live = launch(core, id, row, presence);
    let armed = core.arm(BUILD_TICK_MS).await;
    armed.map_err(|error| internal("the alarm could not be set", error))?;
    core.sync().await?;
    Ok(live)
}

fn refuse_second(core: &Core) -> Result<()> {
    let Some(first) = core.records.live_build()? else {
        return Ok(());
    };
    let id = first.record.id;
    Err(ErrorBody::new(
        ErrorCode::BuildInProgress,
        format!("this sandbox runs the build {id} already"),
    )
    .with(|context| context.build_id = Some(id))
    .suggest("wait for it, cancel it, or use another sandbox id"))
}

/// Goes on with a build whose task died with its isolate.
pub(crate) fn resume(core: &Rc<Core>, row: BuildRow) {
    let presence = match row.on_disconnect {
        OnDisconnect::Continue => Presence::NotNeeded,
        OnDisconnect::Cancel => Presence::Vacant(now()),
    };
    if let Some(id) = BuildId::parse(&row.record.id) {
        launch(core, id, row, presence);
    }
}

fn launch(core: &Rc<Core>, id: BuildId, row: BuildRow, presence: Presence) -> Rc<Live> {
    let (commands, inbox) = mpsc::unbounded();
    let (tell_started, started) = oneshot::channel();
    let (tell_ended, ended) = oneshot::channel();
    let gone = || internal("the build", "its task ended without a word");
    let last = present(&row);
    let started = core.task(async move { started.await.unwrap_or_else(|_| Err(gone())) });
    let ended = core.task(async move {
        let unfinished = || (last, nothing_destroyed());
        ended.await.unwrap_or_else(|_| unfinished())
    });
    let live = Rc::new(Live::new(id, commands, started, ended, presence));
    core.live.replace(Some(Rc::clone(&live)));
    let task = Guard {
        core: Rc::clone(core),
        live: Rc::clone(&live),
        row,
    };
    core.state
        .wait_until(task.run(inbox, tell_started, tell_ended));
    live
}

fn nothing_destroyed() -> Receipt {
    Receipt {
        id: String::new(),
        was_running: false,
        processes: Vec::new(),
        survivors: Vec::new(),
        container_destroyed: false,
        took_ms: 0,
    }
}

/// The record of a build as it is told now.
pub(crate) fn present(row: &BuildRow) -> Build {
    let mut record = row.record.clone();
    if !record.status.is_final() {
        record.timestamp = now();
        record.duration_ms = now().since(record.started_at);
    }
    record
}

/// The cursor of the closing event: one mark after the end of the kept log.
pub(crate) fn closing_cursor(row: &BuildRow) -> Cursor {
    let saved = row.saved.as_deref().and_then(Cursor::parse);
    let mut cursor = saved.unwrap_or_else(|| Cursor {
        boot: row.record.id.clone(),
        incarnation: 0,
        position: Position::START,
    });
    cursor.position.marks += 1;
    cursor
}
