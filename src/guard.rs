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

use std::cell::{Cell, RefCell};
use std::pin::pin;
use std::rc::Rc;

use futures::channel::{mpsc, oneshot};
use futures::{FutureExt, StreamExt, select_biased};
use sandbox_protocol::build::{Build, BuildReason, BuildRequest, BuildStatus, OnDisconnect};
use sandbox_protocol::cursor::Cursor;
use sandbox_protocol::error::{ErrorBody, ErrorCode};
use sandbox_protocol::id::BuildId;
use sandbox_protocol::process::{ExitReason, Process};
use sandbox_protocol::sandbox::Receipt;
use sandbox_protocol::time::Timestamp;

use crate::client::{Client, Failure};
use crate::error::{Result, internal};
use crate::lifecycle::{BUILD_TICK_MS, signed};
use crate::platform::{now, random_name, sleep, within};
use crate::records::{BuildRow, Life};
use crate::sandbox::{Core, Task};
use crate::{boot, teardown};

/// How far behind the log the kept one may be, in milliseconds.
const SAVE_EVERY_MS: u64 = 5000;

/// How long a supervisor may be silent before it counts as lost, in milliseconds.
const SILENCE_LIMIT_MS: u64 = 30_000;

/// How long one wait for the exit is held, in milliseconds.
const WAIT_MS: u64 = 50_000;

/// How long a tree has to end when its build is cancelled, in milliseconds.
const TERMINATE_GRACE_MS: u64 = 3000;

/// How long the rest of the log may take, in milliseconds.
const LAST_SAVE_MS: u64 = 60_000;

/// How much later than the supervisor the object ends a build that is out of time, in milliseconds.
const DEADLINE_MARGIN_MS: i64 = 30_000;

/// How long followers may read on after the exit, in milliseconds; longer if the build has time left.
const DRAIN_MS: i64 = 60_000;

/// A build that a task of this isolate tends.
pub(crate) struct Live {
    pub(crate) id: BuildId,
    /// Wakes the task.
    commands: mpsc::UnboundedSender<Command>,
    /// Its process runs, or the reason why not.
    pub(crate) started: Task<Result<()>>,
    /// Its final record, and the receipt of the destroy.
    pub(crate) ended: Task<(Build, Receipt)>,
    client: RefCell<Presence>,
    next_seat: Cell<u64>,
    /// How many streams are being fed from the container.
    feeding: Cell<usize>,
}

/// Whether somebody is there whose going away counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presence {
    /// The build goes on without anybody.
    NotNeeded,
    /// The one in this seat.
    Seated(u64),
    /// Nobody since then: a stream was cut on our side.
    Vacant(Timestamp),
    /// The one who counted has left.
    Left,
}

/// What wakes the task of a build.
enum Command {
    /// End it, for this reason.
    Cancel(BuildReason),
    /// Somebody came, left, or was cut off.
    Presence,
}

impl Live {
    /// Ends the build; answers when its sandbox is destroyed.
    pub(crate) async fn cancel(&self, reason: BuildReason) -> (Build, Receipt) {
        // A task that has ended does not listen any more, and its result is there.
        let _ = self.commands.unbounded_send(Command::Cancel(reason));
        self.ended.clone().await
    }

    /// Takes the seat of the client whose going away counts, if it is free.
    pub(crate) fn sit(&self) -> Option<u64> {
        let vacant = matches!(*self.client.borrow(), Presence::Vacant(_));
        vacant.then(|| {
            let seat = self.next_seat.get();
            self.next_seat.set(seat + 1);
            self.seat(Presence::Seated(seat));
            seat
        })
    }

    /// The client in `seat` hung up.
    pub(crate) fn left(&self, seat: Option<u64>) {
        self.vacate(seat, Presence::Left);
    }

    /// The client in `seat` was cut off on our side and may come back.
    pub(crate) fn cut(&self, seat: Option<u64>) {
        self.vacate(seat, Presence::Vacant(now()));
    }

    fn vacate(&self, seat: Option<u64>, presence: Presence) {
        if seat.is_some_and(|seat| *self.client.borrow() == Presence::Seated(seat)) {
            self.seat(presence);
        }
    }

    fn seat(&self, presence: Presence) {
        self.client.replace(presence);
        self.wake();
    }

    fn wake(&self) {
        // A task that has ended needs no waking.
        let _ = self.commands.unbounded_send(Command::Presence);
    }

    /// Counts a stream that is fed from the container, until the result is dropped.
    pub(crate) fn feed(self: &Rc<Self>) -> Feeding {
        self.feeding.set(self.feeding.get() + 1);
        Feeding(Rc::clone(self))
    }
}

/// A stream that is fed from the container.
pub(crate) struct Feeding(Rc<Live>);

impl Drop for Feeding {
    fn drop(&mut self) {
        self.0.feeding.set(self.0.feeding.get() - 1);
        self.0.wake();
    }
}

/// The seat of the client that asked for the build.
pub(crate) const FIRST_SEAT: u64 = 0;

/// Writes the build down, then starts its task. The error is `BUILD_IN_PROGRESS`, or what is wrong with
/// the request; then nothing was started.
pub(crate) async fn begin(core: &Rc<Core>, request: &BuildRequest) -> Result<Rc<Live>> {
    let name = format!("b{}", random_name(15));
    let id = BuildId::parse(&name).ok_or_else(|| internal("no name for the build", name))?;
    let ceiling_ms = core.settings()?.max_keep_alive_ms;
    let process = request.validate(&id, ceiling_ms)?;
    core.container()?;
    refuse_second(core)?;
    let started_container = !core.container_running().await?;
    // The look took a while; the check and the row are made without a wait between them.
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
        started_container,
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
    let live = Rc::new(Live {
        id,
        commands,
        started: core.task(async move { started.await.unwrap_or_else(|_| Err(gone())) }),
        ended: core
            .task(async move { ended.await.unwrap_or_else(|_| (last, nothing_destroyed())) }),
        client: RefCell::new(presence),
        next_seat: Cell::new(FIRST_SEAT + 1),
        feeding: Cell::new(0),
    });
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
        position: sandbox_protocol::cursor::Position::START,
    });
    cursor.position.marks += 1;
    cursor
}

/// How a build ended, before its sandbox is destroyed.
#[derive(Debug)]
enum Outcome {
    /// Its process ended, and was seen to.
    Ended(Box<Process>),
    /// It is to end, for this reason.
    Stop(BuildReason),
    /// It could not be started.
    Refused(ErrorBody),
}

struct Guard {
    core: Rc<Core>,
    live: Rc<Live>,
    row: BuildRow,
}

impl Guard {
    async fn run(
        mut self,
        mut inbox: mpsc::UnboundedReceiver<Command>,
        tell_started: oneshot::Sender<Result<()>>,
        tell_ended: oneshot::Sender<(Build, Receipt)>,
    ) {
        let outcome = self.go(&mut inbox, tell_started).await;
        let receipt = self.finish(outcome).await;
        let record = self.row.record.clone();
        self.core.live.take();
        // Nobody may be waiting.
        let _ = tell_ended.send((record, receipt));
    }

    /// From the row to the outcome. `None`: the row had it already.
    async fn go(
        &mut self,
        inbox: &mut mpsc::UnboundedReceiver<Command>,
        tell_started: oneshot::Sender<Result<()>>,
    ) -> Option<Outcome> {
        if self.row.record.reason.is_some() {
            return None;
        }
        let started = self.start_unless_cancelled(inbox).await;
        // Nobody may be waiting: a resumed build has no request.
        match started {
            Ok(life) => {
                let _ = tell_started.send(Ok(()));
                Some(self.watch(&life, inbox).await)
            }
            Err(outcome) => {
                let refusal = match &outcome {
                    Outcome::Refused(error) => error.clone(),
                    _ => crate::sandbox::interrupted(),
                };
                let _ = tell_started.send(Err(refusal));
                Some(outcome)
            }
        }
    }

    async fn start_unless_cancelled(
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
        self.start_anew().await.map_err(Outcome::Refused)
    }

    /// The life in which the process was started; another one knows nothing of it.
    async fn same_life(&self) -> Result<Life, Outcome> {
        let silent_since = now();
        loop {
            match self.core.running_life().await {
                Ok(Some(life)) if Some(life.generation) == self.row.generation => return Ok(life),
                Ok(_) => return Err(Outcome::Stop(BuildReason::ContainerDied)),
                Err(_) if now().since(silent_since) > SILENCE_LIMIT_MS => {
                    return Err(Outcome::Stop(BuildReason::Lost));
                }
                Err(_) => sleep(500).await,
            }
        }
    }

    async fn start_anew(&mut self) -> Result<Life> {
        let life = boot::ensure(&self.core).await?;
        self.row.generation = Some(life.generation);
        let client = self.core.client(&life)?;
        let found = client.process(self.live.id.as_str()).await;
        if found.is_err() {
            let body = serde_json::to_string(&self.row.process);
            let body = body.map_err(|error| internal("the build could not be sent", error))?;
            let process = client.start(body).await.map_err(|failure| match failure {
                Failure::Refused(error) => error,
                Failure::Silent(detail) => crate::error::unavailable(
                    "unreachable",
                    format!("the supervisor did not answer: {detail}"),
                ),
            })?;
            let detail = process
                .pid
                .map(|pid| format!("{} as pid {pid}", process.id));
            self.core.event(life.generation, "buildStarted", detail)?;
        }
        self.row.record.status = BuildStatus::Running;
        self.core.records.set_build(&self.row)?;
        Ok(life)
    }

    /// Until the build has ended or is to end.
    async fn watch(
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
        let mut outcome = {
            let mut saved = pin!(self.keep_saving(client).fuse());
            loop {
                let mut alone = pin!(live.missed_too_long(&core).fuse());
                select_biased! {
                    outcome = exited => break outcome,
                    command = inbox.next() => match command {
                        Some(Command::Cancel(reason)) => break Outcome::Stop(reason),
                        _ if *live.client.borrow() == Presence::Left => break Outcome::Stop(BuildReason::ClientGone),
                        _ => {}
                    },
                    () = stopped => break Outcome::Stop(BuildReason::ContainerDied),
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
        record
            .started_at
            .plus_ms(signed(self.row.process.timeout_ms))
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
        while live.feeding.get() > 0 {
            select_biased! {
                command = inbox.next() => if let Some(Command::Cancel(reason)) = command {
                    return Some(reason);
                },
                () = late => return None,
            }
        }
        None
    }

    /// Saves the log again and again; returns when the supervisor has been silent for too long.
    async fn keep_saving(&mut self, client: Client<'_>) {
        let mut silent_since = None;
        loop {
            if let Some(Ok(())) = within(2 * SAVE_EVERY_MS, self.save(client)).await {
                silent_since = None;
            } else if now().since(*silent_since.get_or_insert(now())) > SILENCE_LIMIT_MS {
                return;
            }
            sleep(SAVE_EVERY_MS).await;
        }
    }

    /// Brings the kept log up to the end of the ledger.
    async fn save(&mut self, client: Client<'_>) -> Result<(), Failure> {
        let cap = self
            .core
            .settings()
            .map_err(Failure::Refused)?
            .kept_log_bytes;
        loop {
            let since = self.row.saved.as_deref();
            let piece = client.kept(self.live.id.as_str(), since, cap).await?;
            let fresh = self.row.saved.as_deref() != Some(&piece.to);
            if fresh {
                let sequence =
                    |text: &str| Cursor::parse(text).map_or(0, |c| c.position.sequence());
                let raw = sequence(&piece.to).saturating_sub(sequence(&piece.from));
                if raw > 0 {
                    let kept =
                        self.core
                            .records
                            .keep_piece(self.live.id.as_str(), &piece, raw, cap);
                    kept.map_err(Failure::Refused)?;
                }
                self.row.saved = Some(piece.to.clone());
                self.row.record.log_bytes = bytes_before(&piece.end);
                let written = self.core.records.set_build(&self.row);
                written.map_err(Failure::Refused)?;
            }
            if !fresh || piece.to == piece.end {
                return Ok(());
            }
        }
    }

    /// From the outcome to the final record. Past any limit it goes on, and the record says what is missing.
    async fn finish(&mut self, outcome: Option<Outcome>) -> Receipt {
        let alive = !matches!(outcome, Some(Outcome::Ended(_)));
        let refused = matches!(outcome, Some(Outcome::Refused(_)));
        if let Some(outcome) = outcome {
            self.decide(outcome);
        }
        self.write();
        if !refused {
            self.rest_of_log(alive).await;
        }
        let needed = !refused || self.row.started_container;
        let receipt = if needed {
            self.destroy().await
        } else {
            nothing_destroyed()
        };
        let record = &mut self.row.record;
        record.status = final_status(record);
        record.destroyed = needed;
        record.ended_at = Some(now());
        record.timestamp = now();
        record.duration_ms = now().since(record.started_at);
        self.write();
        let generation = self.row.generation.unwrap_or_default();
        let detail = Some(format!(
            "{} {:?}",
            self.row.record.id, self.row.record.status
        ));
        if let Err(error) = self.core.event(generation, "buildEnded", detail) {
            worker::console_error!("{error}");
        }
        receipt
    }

    /// Writes the outcome into the row, where a next isolate finds it.
    fn decide(&mut self, outcome: Outcome) {
        let record = &mut self.row.record;
        record.status = BuildStatus::Destroying;
        match outcome {
            Outcome::Refused(error) => {
                worker::console_warn!("the build {} could not be started: {error}", record.id);
                record.reason = Some(BuildReason::StartFailed);
            }
            Outcome::Stop(reason) => record.reason = Some(reason),
            Outcome::Ended(process) => {
                let matched = process.matched == Some(true);
                record.matched = matched;
                record.reason = Some(match process.reason {
                    _ if matched => BuildReason::Matched,
                    Some(ExitReason::Timeout) => BuildReason::Timeout,
                    Some(ExitReason::Killed) => BuildReason::Cancelled,
                    Some(ExitReason::ContainerStopped | ExitReason::Lost) => {
                        BuildReason::ContainerDied
                    }
                    _ => BuildReason::Exited,
                });
                if record.reason == Some(BuildReason::Exited) {
                    record.exit_code = process.exit_code;
                    record.signal = process.signal;
                }
            }
        }
    }

    /// Terminates what still runs and saves the rest of the log, as far as the supervisor lives.
    async fn rest_of_log(&mut self, alive: bool) {
        let core = Rc::clone(&self.core);
        let id = self.live.id.clone();
        let Ok(Some(life)) = core.running_life().await else {
            return;
        };
        if Some(life.generation) != self.row.generation {
            return;
        }
        let Ok(client) = core.client(&life) else {
            return;
        };
        if alive && let Err(failure) = client.kill(id.as_str(), TERMINATE_GRACE_MS).await {
            worker::console_warn!("the tree of {id} goes with its container: {failure:?}");
        }
        match within(LAST_SAVE_MS, self.save(client)).await {
            Some(Ok(())) => self.row.record.log_complete = true,
            Some(Err(failure)) => {
                worker::console_warn!("the log of {id} is incomplete: {failure:?}");
            }
            None => {
                worker::console_warn!("the log of {id} is incomplete: no end in {LAST_SAVE_MS} ms");
            }
        }
    }

    /// Destroys the sandbox; again and again if it must be.
    async fn destroy(&mut self) -> Receipt {
        let why = format!("build {}", self.row.record.id);
        loop {
            let receipt = teardown::destroy(&self.core, &why).await;
            if receipt.container_destroyed {
                return receipt;
            }
            sleep(SAVE_EVERY_MS).await;
        }
    }

    fn write(&self) {
        // The row in memory is still right; the alarm tries again with the one in storage.
        if let Err(error) = self.core.records.set_build(&self.row) {
            worker::console_error!("{error}");
        }
    }
}

impl Live {
    /// Resolves when the client that is missed has stayed away for too long; never while none is missed.
    async fn missed_too_long(&self, core: &Core) {
        let grace = core
            .settings()
            .map_or(30_000, |settings| settings.reattach_grace_ms);
        let presence = *self.client.borrow();
        match presence {
            Presence::Vacant(since) => sleep(since.plus_ms(signed(grace)).since(now())).await,
            Presence::Left => {}
            Presence::NotNeeded | Presence::Seated(_) => futures::future::pending().await,
        }
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
        if let Ok(false) = core.container_running().await {
            return Outcome::Stop(BuildReason::ContainerDied);
        }
        let since = *silent_since.get_or_insert(now());
        if now().since(since) > SILENCE_LIMIT_MS {
            return Outcome::Stop(BuildReason::Lost);
        }
        sleep(500).await;
    }
}

/// The status that follows from the reason.
fn final_status(record: &Build) -> BuildStatus {
    match record.reason {
        Some(BuildReason::Matched) => BuildStatus::Succeeded,
        Some(BuildReason::Exited) if record.exit_code == Some(0) => BuildStatus::Succeeded,
        Some(BuildReason::Exited | BuildReason::StartFailed) => BuildStatus::Failed,
        Some(BuildReason::Timeout) => BuildStatus::TimedOut,
        Some(BuildReason::ClientGone | BuildReason::Cancelled | BuildReason::Destroyed) => {
            BuildStatus::Cancelled
        }
        Some(BuildReason::ContainerDied | BuildReason::Lost) | None => BuildStatus::Lost,
    }
}

/// How many bytes of output lie before `cursor`.
fn bytes_before(cursor: &str) -> u64 {
    Cursor::parse(cursor).map_or(0, |cursor| cursor.position.stdout + cursor.position.stderr)
}
