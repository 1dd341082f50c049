//! A command that is run once: no record, no ledger; its output goes to whoever asked, and with them it ends.

use std::io;
use std::os::fd::OwnedFd;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use sandbox_protocol::exec::{ExecSpec, TIMED_OUT};
use sandbox_protocol::log::Stream;
use sandbox_protocol::process::{Kill, Member};
use sandbox_protocol::signal::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe::{Receiver, Sender};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};

use super::kill::Killed;
use super::launch::Launch;
use super::pipes::{Ours, Pipes};
use super::refusal::refusal;
use super::report::SpawnError;
use super::run;
use super::spawn::{Keeper, Spawner};
use super::state::Ended;
use super::table::{Place, Table};
use super::task::KILL;
use super::tree::Tree;
use crate::error::Error;

/// How much is read from a pipe at once, in bytes.
const READ_BYTES: usize = 64 << 10;

/// How many pieces of output wait for a reader before the command does.
const QUEUE: usize = 16;

/// How long what the command left may go on by itself, say to print its last, before it is killed.
const LEFTOVERS: Duration = Duration::from_millis(100);

/// How long a pipe may stay open that somebody outside of the tree holds.
const DRAIN: Duration = Duration::from_secs(1);

/// How a command is ended whose time is over.
const TIME_OVER: Kill = Kill {
    signal: Signal::TERM,
    grace_ms: Some(1000),
};

/// A command that executes. Dropped before its end, it is killed with its tree.
#[derive(Debug)]
pub struct Execution {
    happenings: mpsc::Receiver<Happening>,
}

/// What happens to a command, in order.
#[derive(Debug)]
pub enum Happening {
    /// It printed.
    Output(Stream, Bytes),
    /// It ended, and its tree is gone. The last.
    Exit {
        /// The exit code; 128+n after signal n, 124 after the timeout.
        exit_code: i32,
        /// Whether it ran out of time.
        timed_out: bool,
        /// How long it ran.
        ran: Duration,
    },
    /// Nobody saw how it ended. The last.
    Lost,
    /// Somebody of its tree lives on, in spite of `SIGKILL`. The last.
    Survived(Vec<Member>),
}

impl Execution {
    /// What happens next; `None` after the last.
    pub async fn next(&mut self) -> Option<Happening> {
        self.happenings.recv().await
    }

    /// The same for those who are polled.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Happening>> {
        self.happenings.poll_recv(context)
    }
}

impl Table {
    /// Runs `spec` once, started as processes are but without a record. Fails as a start does.
    pub async fn run_once(&self, spec: ExecSpec) -> Result<Execution, Error> {
        let launch = self.launch(&spec.command, &spec.cwd, &spec.env, spec.user.as_deref())?;
        let place = self.take_place()?;
        let spawner = self.spawner().clone();
        let (happen, happenings) = mpsc::channel(QUEUE);
        let (tell, started) = oneshot::channel();
        // In a task of its own: neither a start nor a kill must stop halfway when the caller goes away.
        tokio::spawn(async move {
            let begun = Instant::now();
            match start(&spawner, &launch, !spec.stdin.is_empty()).await {
                Ok((tree, pipes)) => {
                    let once = Once {
                        tree,
                        happen,
                        begun,
                        timeout: spec.timeout_ms.map(Duration::from_millis),
                        _place: place,
                    };
                    // A caller who is gone has dropped the other end of `happen` too, which ends it.
                    let _ = tell.send(Ok(()));
                    once.live(pipes, spec.stdin).await;
                }
                Err(error) => {
                    let _ = tell.send(Err(refusal(&error, &launch)));
                }
            }
        });
        match started.await {
            Ok(started) => Ok(started.map(|()| Execution { happenings })?),
            Err(gone) => Err(Error::internal("starting a command")(io::Error::other(
                gone,
            ))),
        }
    }
}

async fn start(
    spawner: &Spawner,
    launch: &Launch,
    stdin: bool,
) -> Result<(Tree, Ours), SpawnError> {
    let (started, pipes) = Pipes::new(stdin, false)?
        .spawn(spawner, launch, Keeper::Shared)
        .await?;
    Ok((run::follow(started, spawner), pipes))
}

/// The owner of one command.
struct Once {
    tree: Tree,
    happen: mpsc::Sender<Happening>,
    begun: Instant,
    timeout: Option<Duration>,
    _place: Place,
}

impl Once {
    async fn live(self, pipes: Ours, stdin: String) {
        let last = tokio::select! {
            last = self.attend(pipes, stdin) => last,
            () = self.happen.closed() => {
                let killed = self.tree.kill(KILL).await;
                if !killed.survivors.is_empty() {
                    eprintln!("supervisor: of a command live on: {:?}", killed.survivors);
                }
                return;
            }
        };
        // One who has gone away meanwhile does not want to know.
        let _ = self.happen.send(last).await;
    }

    /// Passes on what the command prints, and ends it in time.
    async fn attend(&self, pipes: Ours, stdin: String) -> Happening {
        let (ending, ended) = oneshot::channel::<()>();
        let copies = async {
            let copies = async {
                tokio::join!(
                    copy(Some(pipes.stdout), Stream::Stdout, &self.happen),
                    copy(pipes.stderr, Stream::Stderr, &self.happen),
                    feed(pipes.stdin, stdin),
                )
            };
            // With the tree its pipes end, unless somebody elsewhere was given one.
            let overdue = async {
                let _ = ended.await;
                sleep(DRAIN).await;
            };
            tokio::select! {
                _ = copies => {}
                () = overdue => {}
            }
        };
        let end = async {
            let last = self.end().await;
            drop(ending);
            last
        };
        tokio::join!(end, copies).0
    }

    /// Waits for the command's end, ends it in time, and clears what it left.
    async fn end(&self) -> Happening {
        let limit = self.timeout.unwrap_or(Duration::MAX);
        let timed_out = timeout(limit, self.tree.root_end()).await.is_err();
        let ran = self.begun.elapsed();
        let killed = if timed_out {
            self.tree.kill(TIME_OVER).await
        } else if timeout(LEFTOVERS, self.tree.emptied()).await.is_err() {
            self.tree.kill(KILL).await
        } else {
            Killed::default()
        };
        if !killed.survivors.is_empty() {
            return Happening::Survived(killed.survivors);
        }
        let root = self.tree.progress().root;
        let exit_code = match root.map_or(Ended::Unobserved, |end| end.ended) {
            _ if timed_out => TIMED_OUT,
            Ended::Code(code) => code,
            Ended::Signal(signal) => 128 + signal.number(),
            Ended::OutOfMemory => 128 + Signal::KILL.number(),
            Ended::Unobserved => return Happening::Lost,
        };
        Happening::Exit {
            exit_code,
            timed_out,
            ran,
        }
    }
}

/// Passes on what comes from `pipe`, if there is one. The command waits for a reader who does not read.
async fn copy(pipe: Option<OwnedFd>, stream: Stream, happen: &mpsc::Sender<Happening>) {
    let copied = async {
        let Some(pipe) = pipe else { return Ok(()) };
        let mut pipe = Receiver::from_owned_fd(pipe)?;
        let mut buffer = BytesMut::new();
        loop {
            buffer.reserve(READ_BYTES);
            if pipe.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
            let output = Happening::Output(stream, buffer.split().freeze());
            if happen.send(output).await.is_err() {
                return Ok(());
            }
        }
    };
    let copied: io::Result<()> = copied.await;
    if let Err(error) = copied {
        eprintln!("supervisor: a command's output cannot be read: {error}");
    }
}

/// Gives a command its input. One that does not read all of it is free not to.
async fn feed(pipe: Option<OwnedFd>, stdin: String) {
    let Some(pipe) = pipe else { return };
    let fed = async {
        Sender::from_owned_fd(pipe)?
            .write_all(stdin.as_bytes())
            .await
    };
    match fed.await {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            eprintln!("supervisor: a command did not get its input: {error}");
        }
        _ => {}
    }
}
