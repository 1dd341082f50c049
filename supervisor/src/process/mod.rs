//! Processes: started by a shim that keeps their tree, owned by a task each, told of by a table.
//!
//! ```text
//! table ── start ──▶ task ── spawn ──▶ zygote ── forks ──▶ shim ── forks ──▶ the process
//!                     ▲ │                                   │
//!                 ask │ │ publish                           └── reports ──▶ run ──▶ Tree
//!                  Process (handle)
//! ```
//!
//! A command that is run once has no task, and a shim that other commands have had.
//!
//! [`Process`] is a handle. Its task alone decides what becomes of it (`state`) and publishes that; kills and
//! looks work on its [`Tree`], which the kernel keeps together.

pub mod table;

mod state;
mod task;

mod causes;
mod end;
mod kill;
mod limit;
mod once;
mod pipes;
mod records;
mod refusal;
mod run;
mod stats;
mod stdin;
mod target;
mod terminal;
mod tree;
mod user;

pub mod cgroup;
mod child;
mod clone;
mod fds;
pub mod launch;
pub mod look;
mod procfs;
mod report;
mod shim;
mod shims;
mod signals;
pub mod spawn;
pub mod zygote;

use std::sync::Arc;

use sandbox_protocol::error::{ErrorBody, ErrorCode};
use sandbox_protocol::process::{self as wire, Command, ProcessSpec, ProcessStatus, Stats};
use sandbox_protocol::time::Timestamp;
use tokio::sync::{mpsc, watch};

use crate::error::Error;
use crate::logs::Ledger;
use end::Ask;
use state::Phase;
use stdin::Stdin;
use terminal::Terminal;

pub use kill::Killed;
pub use once::{Execution, Happening};
pub use state::Exit;
pub use terminal::Client;
pub use tree::Tree;

/// What Ctrl-D types.
const END_OF_TRANSMISSION: u8 = 4;

/// A process: what was asked for, and what became of it. A cheap clone.
#[derive(Clone, Debug)]
pub struct Process(Arc<Record>);

#[derive(Debug)]
struct Record {
    /// Its name.
    id: String,
    /// Its number in this boot: a name may be used again, this is not.
    incarnation: u64,
    /// What was asked for.
    spec: ProcessSpec,
    /// The supervisor's boot.
    boot: String,
    /// When it was asked for.
    start_time: Timestamp,
    /// What it prints.
    ledger: Ledger,
    /// What it reads.
    stdin: Stdin,
    /// The terminal that it has instead of pipes.
    terminal: Option<Terminal>,
    /// What its task last published.
    snapshot: watch::Receiver<Snapshot>,
    /// Where its task is asked.
    asks: mpsc::UnboundedSender<Ask>,
}

/// What a task publishes of its process.
#[derive(Clone, Debug)]
struct Snapshot {
    /// Where it is in its life.
    phase: Phase,
    /// How often it was started again.
    restarts: u32,
    /// When it ended.
    end_time: Option<Timestamp>,
    /// Whether `until` was seen.
    matched: bool,
    /// The tree of the latest run.
    tree: Option<Tree>,
    /// Why it never executed.
    refused: Option<ErrorBody>,
}

impl Process {
    /// Its name.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.0.id
    }

    /// The process as routes tell of it. Reads `/proc` for the number of its descendants.
    #[must_use]
    pub fn view(&self) -> wire::Process {
        let snapshot = self.snapshot();
        let (spec, exit) = (&self.0.spec, snapshot.exit());
        wire::Process {
            id: self.0.id.clone(),
            pid: snapshot
                .tree
                .as_ref()
                .map(|tree| procfs::number(tree.root())),
            command: spec.command.display(),
            argv: match &spec.command {
                Command::Shell(_) => None,
                Command::Argv(argv) => Some(argv.clone()),
            },
            cwd: spec.cwd.clone(),
            status: snapshot.status(),
            start_time: self.0.start_time,
            end_time: snapshot.end_time,
            exit_code: exit.and_then(|exit| exit.exit_code),
            signal: exit.and_then(|exit| exit.signal),
            reason: exit.map(|exit| exit.reason),
            restarts: snapshot.restarts,
            descendants: snapshot.tree.as_ref().map_or(0, Tree::descendants),
            boot_id: self.0.boot.clone(),
            matched: spec.until.as_ref().map(|_| snapshot.matched),
            stats: None,
        }
    }

    /// Where it is in its life.
    #[must_use]
    pub fn status(&self) -> ProcessStatus {
        self.0.snapshot.borrow().status()
    }

    /// What it prints.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.0.ledger
    }

    /// What was asked for.
    #[must_use]
    pub fn spec(&self) -> &ProcessSpec {
        &self.0.spec
    }

    /// Waits for its end, after the last run. By then its ledger is complete.
    pub async fn exited(&self) -> Exit {
        let mut snapshots = self.0.snapshot.clone();
        let ended = snapshots
            .wait_for(|snapshot| snapshot.exit().is_some())
            .await
            .ok()
            .and_then(|snapshot| snapshot.exit());
        match ended {
            Some(exit) => exit,
            // Its task is gone with the runtime, and so is whoever waits.
            None => std::future::pending().await,
        }
    }

    /// The numbers of everyone alive in its tree. Blocks for the reading of `/proc`.
    #[must_use]
    pub fn pids(&self) -> Vec<u32> {
        let tree = self.snapshot().tree;
        let members = tree.map(|tree| tree.members()).unwrap_or_default();
        let numbers = members.into_iter().map(|(pid, _)| procfs::number(pid));
        numbers.collect()
    }

    /// What its tree has used.
    pub async fn stats(&self) -> Stats {
        match self.snapshot().tree {
            Some(tree) => tree.blocking(stats::of).await,
            None => stats::none(),
        }
    }

    /// Writes `bytes` to its standard input, waiting as long as it does not read. `STDIN_CLOSED`.
    pub async fn write_stdin(&self, bytes: &[u8]) -> Result<(), Error> {
        self.0.stdin.write(bytes).await
    }

    /// `STDIN_CLOSED` if it reads nothing, or no more.
    pub async fn check_stdin(&self) -> Result<(), Error> {
        self.0.stdin.check().await
    }

    /// Ends its standard input, after what is being written; at a terminal, as Ctrl-D does.
    pub async fn close_stdin(&self) {
        if self.0.terminal.is_none() {
            self.0.stdin.close().await;
        } else if let Err(error) = self.write_stdin(&[END_OF_TRANSMISSION]).await {
            // A shell that has ended meanwhile needs no end of its input.
            eprintln!("supervisor: {}: {error}", self.id());
        }
    }

    /// Waits until it executes, or cannot.
    async fn started(&self) -> Result<(), Error> {
        let mut snapshots = self.0.snapshot.clone();
        let started = snapshots
            .wait_for(|snapshot| snapshot.tree.is_some() || snapshot.refused.is_some())
            .await
            .map(|snapshot| snapshot.refused.clone());
        match started {
            Ok(None) => Ok(()),
            Ok(Some(refused)) => Err(refused.into()),
            Err(_) => {
                Err(ErrorBody::new(ErrorCode::OperationInterrupted, "the supervisor stops").into())
            }
        }
    }

    fn is_over(&self) -> bool {
        let snapshot = self.0.snapshot.borrow();
        snapshot.exit().is_some() || snapshot.refused.is_some()
    }

    fn snapshot(&self) -> Snapshot {
        self.0.snapshot.borrow().clone()
    }
}

impl Snapshot {
    fn exit(&self) -> Option<Exit> {
        match self.phase {
            Phase::Finished(exit) => Some(exit),
            _ => None,
        }
    }

    fn status(&self) -> ProcessStatus {
        match self.phase {
            Phase::Starting | Phase::Waiting(_) => ProcessStatus::Starting,
            Phase::Running => ProcessStatus::Running,
            Phase::Finished(exit) => exit.reason.status(exit.exit_code),
        }
    }
}
