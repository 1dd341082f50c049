//! Trying again: what may pass, how often, and for how long.

use sandbox_protocol::time::Timestamp;

use super::Error;
use crate::platform::{now, sleep};

/// How long a sandbox that does not answer is asked again, in milliseconds.
pub(super) const LIMIT_MS: u64 = 60_000;

/// The first pause, in milliseconds; each is twice the one before.
const FIRST_PAUSE_MS: u64 = 100;

/// The longest pause, in milliseconds.
const LONGEST_PAUSE_MS: u64 = 5000;

/// The time for which a silent sandbox is asked again.
pub(super) struct Patience {
    since: Timestamp,
    pause_ms: u64,
}

impl Patience {
    /// The whole time, from now.
    pub(super) fn new() -> Self {
        Self {
            since: now(),
            pause_ms: FIRST_PAUSE_MS,
        }
    }

    /// What is left of the time, in milliseconds.
    pub(super) fn left_ms(&self) -> u64 {
        LIMIT_MS.saturating_sub(now().since(self.since))
    }

    /// Pauses before the next try; `false` at once if the time is over.
    pub(super) async fn pause(&mut self) -> bool {
        let left_ms = self.left_ms();
        if left_ms == 0 {
            return false;
        }
        sleep(self.pause_ms.min(left_ms)).await;
        self.pause_ms = (2 * self.pause_ms).min(LONGEST_PAUSE_MS);
        true
    }
}

/// Asks until an answer stands: what succeeds, and a refusal that would be the same the next time. For calls that
/// may be made twice. The last error when the time is over.
pub(super) async fn insist<T>(mut ask: impl AsyncFnMut() -> Result<T, Error>) -> Result<T, Error> {
    let mut patience = Patience::new();
    loop {
        match ask().await {
            Err(error) if error.may_pass() && patience.pause().await => {}
            answer => return answer,
        }
    }
}
