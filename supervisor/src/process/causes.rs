//! What may end a process from our side: its lifetime, a match in its output, what it may use.

use std::future::{Future, pending};
use std::pin::Pin;
use std::time::Duration;

use sandbox_protocol::process::ProcessSpec;
use tokio::time::sleep;

use super::limit;
use super::state::Cause;
use super::tree::Tree;
use crate::logs::Ledger;
use crate::ready;

/// Resolves once, with nothing where there is no cause any more.
type Due = Pin<Box<dyn Future<Output = Option<Cause>> + Send>>;

/// The causes that a process has. Each comes once.
#[derive(Default)]
pub(super) struct Causes {
    lifetime: Option<Due>,
    until: Option<Due>,
    limit: Option<Due>,
}

impl Causes {
    /// Those of all runs of `spec`, which begins now and prints into `ledger`.
    pub(super) fn lifelong(spec: &ProcessSpec, ledger: &Ledger) -> Self {
        let mut causes = Self::default();
        if let Some(ms) = spec.timeout_ms {
            causes.lifetime = Some(Box::pin(async move {
                sleep(Duration::from_millis(ms)).await;
                Some(Cause::Timeout)
            }));
        }
        if let Some(pattern) = spec.until.clone() {
            let ledger = ledger.clone();
            causes.until = Some(Box::pin(async move {
                match ready::find(&ledger, &pattern).await {
                    Ok(met) => met.map(|_| Cause::Matched),
                    Err(error) => {
                        eprintln!("supervisor: the log cannot be searched: {error}");
                        None
                    }
                }
            }));
        }
        causes
    }

    /// Watches the limits of a run that begins, in place of those of the one before.
    pub(super) fn watch(&mut self, tree: Tree, spec: &ProcessSpec) {
        let limits = spec.limits;
        self.limit = Some(Box::pin(async move {
            Some(limit::exceeded(tree, limits).await)
        }));
    }

    /// The next of them. Cancel safe.
    pub(super) async fn next(&mut self) -> Cause {
        loop {
            let cause = tokio::select! {
                cause = once(&mut self.lifetime) => cause,
                cause = once(&mut self.until) => cause,
                cause = once(&mut self.limit) => cause,
            };
            if let Some(cause) = cause {
                return cause;
            }
        }
    }

    /// Whether a log that has ended had a match that was not told yet.
    pub(super) async fn had_match(&mut self) -> bool {
        match self.until.take() {
            Some(until) => until.await.is_some(),
            None => false,
        }
    }
}

async fn once(due: &mut Option<Due>) -> Option<Cause> {
    let Some(future) = due else {
        return pending().await;
    };
    let cause = future.as_mut().await;
    *due = None;
    cause
}
