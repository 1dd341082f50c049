//! What processes print: kept in order, read at each reader's own pace.
//!
//! A [`Capture`] reads a pipe and appends to a [`Ledger`]; a [`Reader`] holds a position in it and nothing
//! else. The pure part is in `ledger`, the lock around it in `inner`.
//!
//! Invariants:
//! - a writer never waits for a reader; where it writes faster than the disk, it waits for the disk;
//! - what is there and what comes later are taken under one lock, so nothing is missed between them;
//! - no file is touched while a ledger is locked.

mod inner;
mod ledger;
mod segment;
mod spill;
mod store;
mod utf8;

mod batch;
mod capture;
mod encode;
mod escape;
mod follower;
mod frame;
mod json;
mod kept;
mod reader;
mod stream;
mod tail;

#[cfg(test)]
mod tests;

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::SystemTime;

use sandbox_protocol::cursor::{Cursor, Position};
use sandbox_protocol::error::{ErrorBody, ErrorCode};
use sandbox_protocol::log::{From, LogEvent, Selection, Stream};
use sandbox_protocol::time::Timestamp;

use crate::error::Error;
use inner::Inner;
use ledger::Sequence;
use store::Shared;

pub use batch::{Batch, Entry};
pub use capture::Capture;
pub use follower::{Follower, MAX_FOLLOWERS};
pub use json::snapshot;
pub use kept::{Piece, piece};
pub use reader::{Reader, Step};
pub use store::{Caps, Store};
pub use stream::{Form, stream};

/// The time now.
#[must_use]
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Timestamp(since.map_or(0, |since| {
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }))
}

/// Runs `work`, which may wait for the disk, where that stops nobody. An error means that it panicked or that
/// the runtime ends.
async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    Ok(tokio::task::spawn_blocking(work).await?)
}

/// The log of one process record, all its runs under a restart policy included. A cheap clone; what it keeps
/// lives until the last one is gone.
#[derive(Clone, Debug)]
pub struct Ledger(Arc<Inner>);

impl Ledger {
    fn new(
        store: &Arc<Shared>,
        id: u64,
        process_id: &str,
        boot: &str,
        incarnation: u64,
        log_bytes: u64,
    ) -> Self {
        Self(Arc::new(Inner::new(
            Arc::clone(store),
            id,
            process_id,
            boot,
            incarnation,
            log_bytes,
        )))
    }

    /// Adds what was read from `stream` at `at`. Waits for nobody. After the end it is counted and dropped.
    pub fn append(&self, stream: Stream, at: Timestamp, bytes: &[u8]) {
        let memory = self.0.change(|sequence| {
            sequence.append(stream, at, bytes);
            sequence.bytes().0
        });
        self.0.grew(at, memory);
    }

    /// Adds an event that is no output. `exit` closes the ledger: nothing comes after it.
    pub fn mark(&self, event: &LogEvent<'_>) {
        let at = match event {
            LogEvent::Restart { timestamp, .. } | LogEvent::Exit { timestamp, .. } => *timestamp,
            _ => now(),
        };
        let json = encode::json(event);
        let memory = self.0.change(|sequence| {
            sequence.mark(at, &json);
            if matches!(event, LogEvent::Exit { .. }) {
                sequence.close();
            }
            sequence.bytes().0
        });
        self.0.grew(at, memory);
    }

    /// Ends the ledger without an `exit` that nobody has seen. Followers end after what is there.
    pub fn close(&self) {
        self.0.sequence().close();
        self.0.changed.notify_waiters();
    }

    /// Closes the ledger of a record that is forgotten, and takes it off the store's books. Its files go
    /// when the last reader is through.
    pub fn remove(&self) {
        self.close();
        self.0.store.forget(self.0.id);
    }

    /// Whose log it is.
    #[must_use]
    pub fn process_id(&self) -> &str {
        &self.0.process_id
    }

    /// After the newest entry.
    #[must_use]
    pub fn end(&self) -> Cursor {
        self.cursor(self.0.sequence().end())
    }

    /// How many bytes came after the end and were dropped.
    #[must_use]
    pub fn late_bytes(&self) -> u64 {
        self.0.sequence().late_bytes()
    }

    /// Counts output as dropped that nobody is to read any more.
    fn drop_late(&self, bytes: u64) {
        self.0.sequence().drop_late(bytes);
    }

    /// A reader of `stream` that begins at `from`. `STALE_CURSOR` for a cursor of another boot or run,
    /// `INVALID_CURSOR` for one that this ledger never gave out.
    pub fn reader(&self, from: &From, stream: Selection) -> Result<Reader, Error> {
        let (at, tail) = match from {
            From::Start => (Position::START, None),
            From::Tail(lines) => (Position::START, Some(*lines)),
            From::After(cursor) => (self.position(cursor)?, None),
        };
        Ok(Reader::new(self.clone(), stream, at, tail))
    }

    /// Resolves when the ledger has ended.
    pub async fn closed(&self) {
        self.until(Sequence::is_closed).await;
    }

    /// The last `lines` lines of both streams, of what is in the last few kilobytes.
    pub async fn tail_lines(&self, lines: usize) -> Vec<String> {
        let ledger = self.clone();
        off_thread(move || tail::lines(&ledger, lines))
            .await
            .unwrap_or_default()
    }

    /// What every cursor of this ledger begins with.
    fn cursor_prefix(&self) -> String {
        format!("{}.{}.", self.0.boot, self.0.incarnation)
    }

    /// The cursor of a position in this ledger.
    #[must_use]
    pub fn cursor(&self, position: Position) -> Cursor {
        Cursor {
            boot: self.0.boot.clone(),
            incarnation: self.0.incarnation,
            position,
        }
    }

    fn position(&self, cursor: &Cursor) -> Result<Position, ErrorBody> {
        if cursor.boot != self.0.boot || cursor.incarnation != self.0.incarnation {
            return Err(ErrorBody::new(
                ErrorCode::StaleCursor,
                "the cursor belongs to another boot or an earlier run of this process",
            )
            .with(|context| context.process_id = Some(self.0.process_id.clone())));
        }
        if !self.0.sequence().has(cursor.position) {
            return Err(ErrorBody::new(
                ErrorCode::InvalidCursor,
                "this log never gave out that cursor",
            )
            .with(|context| context.process_id = Some(self.0.process_id.clone())));
        }
        Ok(cursor.position)
    }

    /// Resolves when `holds` does. It is asked after every change.
    async fn until(&self, holds: impl Fn(&Sequence) -> bool) {
        loop {
            let mut changed = pin!(self.0.changed.notified());
            // From here on no change is missed, so the question below is not asked too early.
            changed.as_mut().enable();
            if holds(&self.0.sequence()) {
                return;
            }
            changed.await;
        }
    }
}
