//! How a process is ended on somebody's behalf: its task is asked for the tree, and the tree is killed.

use std::time::{Duration, Instant};

use sandbox_protocol::error::{ErrorBody, ErrorCode};
use sandbox_protocol::process::{Kill, KillReceipt, Member};
use sandbox_protocol::signal::Signal;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::Process;
use super::kill::Killed;
use super::state::Cause;
use super::tree::Tree;
use crate::error::Error;

/// How long a shell takes at most that heeds the end of its terminal.
const HEEDED: Duration = Duration::from_millis(250);

/// Asks a task for its tree, to send it a signal.
#[derive(Debug)]
pub(super) struct Ask {
    /// Why we end it; `None` if the signal is only delivered.
    pub(super) cause: Option<Cause>,
    /// The signal.
    pub(super) signal: Signal,
    /// The tree, if there is one.
    pub(super) reply: oneshot::Sender<Option<Tree>>,
}

impl Process {
    /// Kills the tree as `kill` says and proves it gone, or only delivers the signal where there is no grace.
    /// Goes on when it is not awaited any more. `KILL_INCOMPLETE` with the receipt if somebody survives.
    pub async fn kill(&self, kill: Kill) -> Result<KillReceipt, Error> {
        let begun = Instant::now();
        let ends = kill.grace_ms.is_some()
            || matches!(
                kill.signal,
                Signal::KILL | Signal::TERM | Signal::INT | Signal::QUIT
            );
        let killed = self.end(kill, ends.then_some(Cause::Kill)).await;
        let receipt = KillReceipt {
            process: self.view(),
            signalled: killed.signalled,
            killed: killed.killed,
            survivors: killed.survivors,
            took_ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
        };
        if receipt.survivors.is_empty() {
            return Ok(receipt);
        }
        Err(incomplete(receipt).into())
    }

    /// Sends the signal on account of `cause`, in a task of its own, so that a caller who goes away does not
    /// leave a tree half killed.
    pub(super) async fn end(&self, kill: Kill, cause: Option<Cause>) -> Killed {
        let process = self.clone();
        let ending = tokio::spawn(async move {
            let Some(tree) = process.ask(kill.signal, cause).await else {
                return Killed::default();
            };
            let killed = process.end_tree(&tree, kill).await;
            if kill.grace_ms.is_some() && killed.survivors.is_empty() {
                process.exited().await;
            }
            killed
        });
        ending
            .await
            .unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
    }

    /// Kills the tree. A shell at a terminal ignores SIGTERM and heeds the end of its terminal, so there that
    /// comes first.
    async fn end_tree(&self, tree: &Tree, kill: Kill) -> Killed {
        if self.0.terminal.is_none() || kill.signal != Signal::TERM || kill.grace_ms.is_none() {
            return tree.kill(kill).await;
        }
        let hang_up = Kill {
            signal: Signal::HUP,
            grace_ms: None,
        };
        let mut signalled = tree.kill(hang_up).await.signalled;
        // Bash that heard it just before it read on would heed it only at the next key: a second one ends it.
        if timeout(HEEDED, tree.root_end()).await.is_err() {
            tree.kill(hang_up).await;
        }
        let mut killed = tree.kill(kill).await;
        // Named as they were before they began to end.
        let anew = |member: &Member| signalled.iter().all(|named| named.pid != member.pid);
        killed.signalled.retain(anew);
        signalled.append(&mut killed.signalled);
        Killed {
            signalled,
            ..killed
        }
    }

    /// The tree of the current run; `None` if there is none.
    async fn ask(&self, signal: Signal, cause: Option<Cause>) -> Option<Tree> {
        let (reply, answer) = oneshot::channel();
        let ask = Ask {
            cause,
            signal,
            reply,
        };
        // A task that is gone has seen its tree go.
        self.0.asks.send(ask).ok()?;
        answer.await.ok()?
    }
}

fn incomplete(receipt: KillReceipt) -> ErrorBody {
    let count = receipt.survivors.len();
    ErrorBody::new(
        ErrorCode::KillIncomplete,
        format!("{count} processes live on 10 s after SIGKILL"),
    )
    .with(|context| {
        context.process_id = Some(receipt.process.id);
        context.signalled = Some(receipt.signalled);
        context.killed = Some(receipt.killed);
        context.survivors = Some(receipt.survivors);
    })
}
