//! The kept log of a build: saved while it runs, and to the end before its sandbox is destroyed.

use std::rc::Rc;

use sandbox_protocol::cursor::Cursor;

use crate::client::{Client, Failure};
use crate::platform::{now, sleep, within};

use super::outcome::SILENCE_LIMIT_MS;
use super::task::Guard;

/// How far behind the log the kept one may be, in milliseconds.
const SAVE_EVERY_MS: u64 = 5000;

/// How long a tree has to end when its build is cancelled, in milliseconds.
const TERMINATE_GRACE_MS: u64 = 3000;

/// How long the rest of the log may take, in milliseconds.
const LAST_SAVE_MS: u64 = 60_000;

impl Guard {
    /// Saves the log again and again; returns when the supervisor has been silent for too long.
    pub(super) async fn keep_saving(&mut self, client: Client<'_>) {
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

    /// Terminates what still runs and saves the rest of the log, as far as the supervisor lives.
    pub(super) async fn rest_of_log(&mut self, alive: bool) {
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
}

/// How many bytes of output lie before `cursor`.
fn bytes_before(cursor: &str) -> u64 {
    Cursor::parse(cursor).map_or(0, |cursor| cursor.position.stdout + cursor.position.stderr)
}
