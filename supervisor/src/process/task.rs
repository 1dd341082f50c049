//! The task that owns one process: starts its runs, ends them in time, and publishes what becomes of it.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::time::Duration;

use sandbox_protocol::error::ErrorBody;
use sandbox_protocol::log::{LogEvent, Stream, ending};
use sandbox_protocol::process::{Kill, Stderr, Stdin as StdinMode};
use sandbox_protocol::signal::Signal;
use sandbox_protocol::time::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::causes::Causes;
use super::end::Ask;
use super::launch::Launch;
use super::pipes::{Ours, Pipes};
use super::refusal::refusal;
use super::report::SpawnError;
use super::run;
use super::spawn::{Keeper, Spawner};
use super::state::{Cause, Exit, Next, Phase, State};
use super::tree::Tree;
use super::{Process, Snapshot};
use crate::logs::{self, Capture};

/// How long a descendant that keeps a pipe open may delay the end of a run.
const DRAIN: Duration = Duration::from_secs(1);

/// How a tree is ended that nobody asked to end in another way.
pub(super) const TERMINATE: Kill = Kill {
    signal: Signal::TERM,
    grace_ms: Some(5000),
};

/// How a tree is ended at once.
pub(super) const KILL: Kill = Kill {
    signal: Signal::KILL,
    grace_ms: Some(0),
};

/// The owner of one process.
pub(super) struct Task {
    process: Process,
    launch: Launch,
    spawner: Spawner,
    asks: mpsc::UnboundedReceiver<Ask>,
    publish: watch::Sender<Snapshot>,
    state: State,
    /// When the latest run ended.
    end_time: Option<Timestamp>,
    /// The tree of the latest run.
    tree: Option<Tree>,
    /// What may end it from our side.
    causes: Causes,
    /// The kills that this task began.
    kills: JoinSet<()>,
    matched: bool,
}

impl Task {
    /// The task of `process`, which is not started yet.
    pub(super) fn new(
        process: Process,
        launch: Launch,
        spawner: Spawner,
        asks: mpsc::UnboundedReceiver<Ask>,
        publish: watch::Sender<Snapshot>,
    ) -> Self {
        let state = State::new(process.spec().restart);
        Self {
            process,
            launch,
            spawner,
            asks,
            publish,
            state,
            end_time: None,
            tree: None,
            causes: Causes::default(),
            kills: JoinSet::new(),
            matched: false,
        }
    }

    /// Lives through the process, until the last of its trees is gone. The error, also published, is that of
    /// a first run that did not start.
    pub(super) async fn run(mut self) -> Result<(), ErrorBody> {
        // Before it executes: its lifetime includes its start.
        self.causes = Causes::lifelong(self.process.spec(), self.process.ledger());
        let mut captures = match self.begin().await {
            Ok(captures) => captures,
            Err(error) => return Err(self.refuse(&error)),
        };
        while let Some(pause) = self.live(captures).await {
            let Some(next) = self.again(pause).await else {
                break;
            };
            captures = next;
        }
        if let Some(tree) = self.tree.clone() {
            self.serve(async move { tree.emptied().await }).await;
        }
        Ok(())
    }

    /// Starts a run.
    async fn begin(&mut self) -> Result<Vec<Capture>, SpawnError> {
        let spec = self.process.spec();
        let merge = spec.stderr == Stderr::Merge;
        let (started, ours) = if let Some(terminal) = &self.process.0.terminal {
            terminal.spawn(&self.spawner, &self.launch).await?
        } else {
            let pipes = Pipes::new(spec.stdin == StdinMode::Pipe, merge)?;
            pipes
                .spawn(&self.spawner, &self.launch, Keeper::Own)
                .await?
        };
        let tree = run::follow(started, &self.spawner);
        match self.attach(&tree, ours).await {
            Ok(captures) => Ok(captures),
            Err(error) => {
                // It executes, but nobody could read what it prints.
                tree.kill(KILL).await;
                Err(error.into())
            }
        }
    }

    /// Becomes the owner of a run that executes.
    async fn attach(&mut self, tree: &Tree, pipes: Ours) -> io::Result<Vec<Capture>> {
        let ledger = self.process.ledger();
        let mut captures = vec![Capture::start(
            pipes.stdout,
            Stream::Stdout,
            ledger.clone(),
        )?];
        if let Some(stderr) = pipes.stderr {
            captures.push(Capture::start(stderr, Stream::Stderr, ledger.clone())?);
        }
        self.process.0.stdin.open(pipes.stdin).await?;
        self.causes.watch(tree.clone(), self.process.spec());
        self.tree = Some(tree.clone());
        self.state.started();
        self.publish();
        Ok(captures)
    }

    fn refuse(&self, error: &SpawnError) -> ErrorBody {
        let refused = refusal(error, &self.launch);
        self.publish
            .send_modify(|snapshot| snapshot.refused = Some(refused.clone()));
        refused
    }

    /// Lives through a run, until its root has ended and its pipes are drained; the pause before the next run
    /// if there is to be one.
    async fn live(&mut self, captures: Vec<Capture>) -> Option<Duration> {
        let tree = self.tree.clone()?;
        let watched = tree.clone();
        let end = self.serve(async move { watched.root_end().await }).await?;
        self.end_time = Some(end.at);
        self.serve(drain(captures)).await;
        self.process.0.stdin.close().await;
        if let Some(terminal) = &self.process.0.terminal {
            terminal.close();
        }
        // It may have ended of what we are about to learn.
        if let Some(cause) = end.excess {
            self.intervene(cause);
        }
        match self.state.ended(end.ended) {
            Next::Finish(exit) => {
                self.finish(exit).await;
                None
            }
            Next::Restart {
                exit,
                run,
                after_ms,
            } => {
                self.process.ledger().mark(&LogEvent::Restart {
                    run,
                    exit_code: exit.exit_code,
                    signal: exit.signal,
                    data: ending(exit.exit_code, exit.signal).into(),
                    process_id: self.process.id().into(),
                    timestamp: end.at,
                });
                self.publish();
                // What the run left would be in the way of the next.
                self.serve(async move { tree.kill(TERMINATE).await }).await;
                Some(Duration::from_millis(after_ms))
            }
        }
    }

    /// Starts the next run after `pause`; `None` if something came in between, or it cannot be started.
    async fn again(&mut self, pause: Duration) -> Option<Vec<Capture>> {
        self.serve_while_waiting(sleep(pause)).await;
        self.state.resume();
        if self.state.phase() == Phase::Starting {
            match self.begin().await {
                Ok(captures) => return Some(captures),
                Err(error) => {
                    let refused = refusal(&error, &self.launch);
                    eprintln!(
                        "supervisor: {} is not restarted: {refused}",
                        self.process.id()
                    );
                    self.state.give_up();
                }
            }
        }
        if let Phase::Finished(exit) = self.state.phase() {
            self.finish(exit).await;
        }
        None
    }

    /// Closes the ledger, with an `exit` if one was observed, and publishes the end.
    async fn finish(&mut self, exit: Exit) {
        let ledger = self.process.ledger();
        if exit.exit_code.is_none() && exit.signal.is_none() {
            ledger.close();
        } else {
            ledger.mark(&LogEvent::Exit {
                exit_code: exit.exit_code,
                signal: exit.signal,
                reason: exit.reason,
                data: ending(exit.exit_code, exit.signal).into(),
                process_id: self.process.id().into(),
                timestamp: self.end_time.unwrap_or_else(logs::now),
            });
        }
        // Printed with its last breath, perhaps.
        self.matched |= self.causes.had_match().await;
        self.publish();
    }

    fn publish(&self) {
        self.publish.send_modify(|snapshot| {
            snapshot.phase = self.state.phase();
            snapshot.restarts = self.state.restarts();
            snapshot.tree.clone_from(&self.tree);
            snapshot.matched = self.matched;
            if matches!(snapshot.phase, Phase::Finished(_)) {
                snapshot.end_time = self.end_time;
            }
        });
    }

    /// Answers and acts until `done` resolves.
    async fn serve<T>(&mut self, done: impl Future<Output = T>) -> T {
        let mut done = pin!(done);
        loop {
            tokio::select! {
                biased;
                result = &mut done => return result,
                Some(ask) = self.asks.recv() => self.answer(ask),
                cause = self.causes.next() => self.intervene(cause),
            }
        }
    }

    /// The same, but no longer than another run is wanted.
    async fn serve_while_waiting(&mut self, done: impl Future<Output = ()>) {
        let mut done = pin!(done);
        while let Phase::Waiting(_) = self.state.phase() {
            tokio::select! {
                biased;
                () = &mut done => return,
                Some(ask) = self.asks.recv() => self.answer(ask),
                cause = self.causes.next() => self.intervene(cause),
            }
        }
    }

    fn answer(&mut self, ask: Ask) {
        match ask.cause {
            Some(cause) => self.state.intervene(cause),
            None => self.state.delivered(ask.signal),
        }
        // One who does not wait for the answer does not want to send the signal any more.
        let _ = ask.reply.send(self.tree.clone());
    }

    fn intervene(&mut self, cause: Cause) {
        self.matched |= cause == Cause::Matched;
        self.state.intervene(cause);
        if let Some(tree) = self.tree.clone() {
            let id = self.process.id().to_owned();
            self.kills.spawn(async move {
                let killed = tree.kill(TERMINATE).await;
                if !killed.survivors.is_empty() {
                    eprintln!("supervisor: of {id} live on: {:?}", killed.survivors);
                }
            });
        }
    }
}

/// Waits until everything printed is in the ledger, but for no descendant that prints on.
async fn drain(captures: Vec<Capture>) {
    let mut finishing = JoinSet::new();
    for capture in captures {
        finishing.spawn(capture.finish(DRAIN));
    }
    while finishing.join_next().await.is_some() {}
}
