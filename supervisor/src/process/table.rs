//! The table: every process by its name, how many there may be, and which records are kept.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::rand::GetRandomFlags;
use sandbox_protocol::error::{ErrorBody, ErrorCode};
use sandbox_protocol::process::{
    Command, Environment, Kill, KillAllReceipt, KillReceipt, Limits, Member, ProcessSpec,
};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::launch::Launch;
use super::records::Records;
use super::spawn::Spawner;
use super::state::{Cause, Phase};
use super::stdin::Stdin;
use super::task::{KILL, TERMINATE, Task};
use super::terminal::Terminal;
use super::user::User;
use super::{Process, Record, Snapshot};
use crate::config::Config;
use crate::environment::Variables;
use crate::error::Error;
use crate::logs::{self, Store};
use crate::ready;

/// Every process of a supervisor. A cheap clone.
#[derive(Clone, Debug)]
pub struct Table(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    spawner: Spawner,
    store: Store,
    config: Arc<Config>,
    variables: Variables,
    records: Mutex<Records>,
}

impl Table {
    /// An empty table, whose processes are started by `spawner` and print into `store`.
    #[must_use]
    pub fn new(spawner: Spawner, store: Store, config: Arc<Config>, variables: Variables) -> Self {
        Self(Arc::new(Inner {
            spawner,
            store,
            config,
            variables,
            records: Mutex::default(),
        }))
    }

    /// Starts a process and waits until it executes; `false` beside it if it ran already.
    ///
    /// A named one that runs is answered with itself, or refused (`PROCESS_ALREADY_EXISTS`) if it was started
    /// by another request. A start that fails (`INVALID_CWD`, `INVALID_COMMAND`, `SPAWN_FAILED`,
    /// `TOO_MANY_PROCESSES`) leaves no record. A start goes on when it is not awaited any more.
    pub async fn start(&self, spec: ProcessSpec) -> Result<(Process, bool), Error> {
        if let Some(until) = &spec.until {
            ready::check_pattern(until, "until.regex")?;
        }
        if let Some(condition) = &spec.ready {
            ready::check(condition, "ready")?;
        }
        let launch = Launch {
            limits: spec.limits,
            ..self.launch(&spec.command, &spec.cwd, &spec.env, spec.user.as_deref())?
        };
        let id = match &spec.id {
            Some(id) => id.as_str().to_owned(),
            None => generated_id()?,
        };
        let (process, created) = self.enter(id, spec, launch, None)?;
        process.started().await?;
        Ok((process, created))
    }

    /// The process of this name. `PROCESS_NOT_FOUND`.
    pub fn get(&self, id: &str) -> Result<Process, Error> {
        self.records().get(id).ok_or_else(|| not_found(id))
    }

    /// All of them, oldest first.
    #[must_use]
    pub fn list(&self) -> Vec<Process> {
        self.records().list()
    }

    /// Kills the process as a kill does by default, then forgets it. It stays if somebody survives.
    pub async fn delete(&self, id: &str) -> Result<KillReceipt, Error> {
        let process = self.get(id)?;
        let receipt = process.kill(Kill::default()).await?;
        self.records().forget(&process);
        process.ledger().remove();
        Ok(receipt)
    }

    /// Kills every tree, all at once, as a kill does by default. Goes on when it is not awaited any more.
    pub async fn kill_all(&self) -> KillAllReceipt {
        self.end_all(Cause::Kill).await
    }

    /// Starts nothing any more, and ends every tree, within the grace of a kill.
    pub async fn shutdown(&self) -> KillAllReceipt {
        self.records().stop();
        self.end_all(Cause::Stop).await
    }

    async fn end_all(&self, cause: Cause) -> KillAllReceipt {
        let mut receipt = KillAllReceipt::default();
        let mut ends = JoinSet::new();
        for process in self.list() {
            receipt.killed += u32::from(!process.is_over());
            // Detached from whoever asks: `end` goes on by itself.
            ends.spawn(async move { process.end(TERMINATE, Some(cause)).await.survivors });
        }
        while let Some(survivors) = ends.join_next().await {
            let survivors: Vec<Member> =
                survivors.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
            receipt.survivors.extend(survivors);
        }
        receipt
    }

    /// Enters a process and begins it, or finds the one that runs.
    pub(super) fn enter(
        &self,
        id: String,
        spec: ProcessSpec,
        launch: Launch,
        terminal: Option<Terminal>,
    ) -> Result<(Process, bool), Error> {
        let mut records = self.records();
        let previous = records.get(&id);
        if let Some(running) = previous.as_ref().filter(|process| !process.is_over()) {
            if running.spec().same_process(&spec) {
                return Ok((running.clone(), false));
            }
            return Err(exists(&id));
        }
        let place = self.place(&mut records)?;
        let incarnation = records.incarnation();
        let (publish, snapshot) = watch::channel(Snapshot {
            phase: Phase::Starting,
            restarts: 0,
            end_time: None,
            matched: false,
            tree: None,
            refused: None,
        });
        let (asks, asked) = mpsc::unbounded_channel();
        let boot = self.0.config.boot.as_str();
        let log_bytes = spec.limits.log_bytes;
        let process = Process(Arc::new(Record {
            ledger: self.0.store.ledger(&id, boot, incarnation, log_bytes),
            id,
            incarnation,
            spec,
            boot: boot.to_owned(),
            start_time: logs::now(),
            stdin: Stdin::default(),
            terminal,
            snapshot,
            asks,
        }));
        records.enter(process.clone());
        drop(records);
        let spawner = self.0.spawner.clone();
        let task = Task::new(process.clone(), launch, spawner, asked, publish);
        tokio::spawn(self.clone().own(task, process.clone(), previous, place));
        Ok((process, true))
    }

    /// Sees a process through: what the one before it under its name left goes first; a start that fails
    /// puts that record back; an end makes this one of the finished.
    async fn own(self, task: Task, process: Process, previous: Option<Process>, place: Place) {
        if let Some(previous) = &previous {
            previous.end(KILL, Some(Cause::Kill)).await;
        }
        let result = task.run().await;
        drop(place);
        let most = self.0.config.limits.records;
        self.records()
            .settle(process, previous, result.is_ok(), most);
    }

    /// A place among the running, given back when it is dropped. `TOO_MANY_PROCESSES`.
    pub(super) fn take_place(&self) -> Result<Place, Error> {
        self.place(&mut self.records())
    }

    fn place(&self, records: &mut Records) -> Result<Place, Error> {
        records.take_place(self.0.config.limits.processes)?;
        Ok(Place(self.clone()))
    }

    /// What the kernel is to execute for a request.
    pub(super) fn launch(
        &self,
        command: &Command,
        cwd: &str,
        env: &Environment,
        user: Option<&str>,
    ) -> Result<Launch, Error> {
        let config = &self.0.config;
        let user = User::of_request(user, config.sandbox_user.as_ref())?;
        Ok(Launch {
            argv: command.argv().into_iter().map(str::to_owned).collect(),
            env: self.0.variables.under(user.variables(), env),
            cwd: self.folder(cwd)?,
            identity: user.identity,
            limits: Limits::default(),
        })
    }

    /// Where the folder that clients know as `cwd` is: the workspace may have another place here.
    pub(crate) fn folder(&self, cwd: &str) -> Result<String, Error> {
        let config = &self.0.config;
        let below = cwd
            .strip_prefix("/workspace")
            .filter(|rest| rest.is_empty() || rest.starts_with('/'));
        let Some(below) = below else {
            return Ok(cwd.to_owned());
        };
        if config.workspace_unavailable {
            return Err(ErrorBody::new(
                ErrorCode::InvalidCwd,
                "there is no /workspace here: the kernel refused a namespace for it",
            )
            .with(|context| context.path = Some(cwd.to_owned()))
            .into());
        }
        Ok(format!("{}{below}", config.workspace.display()))
    }

    /// What starts its processes.
    pub(crate) fn spawner(&self) -> &Spawner {
        &self.0.spawner
    }

    fn records(&self) -> MutexGuard<'_, Records> {
        self.0
            .records
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place among the running.
#[derive(Debug)]
pub(super) struct Place(Table);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.records().give_place_back();
    }
}

/// 16 letters and digits at random.
pub(super) fn generated_id() -> Result<String, Error> {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let mut bytes = [0; 16];
    rustix::rand::getrandom(&mut bytes[..], GetRandomFlags::empty())
        .map_err(Error::internal("making up an id"))?;
    let symbol = |byte: u8| char::from(ALPHABET[usize::from(byte & 31)]);
    Ok(bytes.into_iter().map(symbol).collect())
}

fn not_found(id: &str) -> Error {
    ErrorBody::new(
        ErrorCode::ProcessNotFound,
        format!("there is no process {id}"),
    )
    .with(|context| context.process_id = Some(id.to_owned()))
    .into()
}

pub(super) fn exists(id: &str) -> Error {
    ErrorBody::new(
        ErrorCode::ProcessAlreadyExists,
        format!("process {id} runs, started by another request"),
    )
    .with(|context| context.process_id = Some(id.to_owned()))
    .into()
}
