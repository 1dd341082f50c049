//! What processes print: kept in order, read at each reader's own pace.
//!
//! A [`Capture`] reads a pipe and appends to a [`Ledger`]; a [`Reader`] holds a position in it and nothing
//! else. The pure part is in `ledger`; this is the lock around it, and who is told when it grows.
//!
//! Invariants:
//! - a writer never waits for a reader; where it writes faster than the disk, it waits for the disk;
//! - what is there and what comes later are taken under one lock, so nothing is missed between them;
//! - no file is touched while a ledger is locked.

mod ledger;
mod segment;
mod spill;
mod store;
mod utf8;

mod capture;
mod encode;
mod escape;
mod frame;
mod json;
mod kept;
mod reader;
mod stream;
mod tail;

#[cfg(test)]
mod tests;

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::SystemTime;

use sandbox_protocol::cursor::{Cursor, Position};
use sandbox_protocol::error::{ErrorBody, ErrorCode};
use sandbox_protocol::log::{From, LogEvent, Selection, Stream};
use sandbox_protocol::time::Timestamp;
use tokio::sync::Notify;

use crate::error::Error;
use ledger::{Sequence, Sizes};
use spill::{Filling, Task};
use store::{Shared, take_place};

pub use capture::Capture;
pub use json::snapshot;
pub use kept::{Piece, piece};
pub use reader::{Batch, Entry, Reader, Step};
pub use store::{Caps, Store};
pub use stream::{Form, stream};

/// What one ledger keeps in memory before its oldest blocks move to disk, in bytes.
const LEDGER_MEMORY_BYTES: u64 = 4 << 20;

/// What one ledger has in memory at most; beyond it the process waits for the disk.
const LEDGER_MEMORY_MAX_BYTES: u64 = 2 * LEDGER_MEMORY_BYTES;

/// Followers of one ledger at the same time.
pub const MAX_FOLLOWERS: u64 = 256;

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

/// What the handles of a ledger share.
#[derive(Debug)]
struct Inner {
    store: Arc<Shared>,
    id: u64,
    process_id: String,
    boot: String,
    incarnation: u64,
    sequence: Mutex<Sequence>,
    /// Told at every change.
    changed: Notify,
    /// When it last grew, in milliseconds since the epoch.
    last_change: AtomicI64,
    followers: AtomicU64,
    spill_due: AtomicBool,
    disk_failed: AtomicBool,
    /// Used by the thread that writes segments only.
    filling: Mutex<Option<Filling>>,
}

impl Ledger {
    fn new(
        store: &Arc<Shared>,
        id: u64,
        process_id: &str,
        boot: &str,
        incarnation: u64,
        log_bytes: u64,
    ) -> Self {
        Self(Arc::new(Inner {
            store: Arc::clone(store),
            id,
            process_id: process_id.to_owned(),
            boot: boot.to_owned(),
            incarnation,
            sequence: Mutex::new(Sequence::new(Sizes::of(log_bytes))),
            changed: Notify::new(),
            last_change: AtomicI64::new(now().0),
            followers: AtomicU64::new(0),
            spill_due: AtomicBool::new(false),
            disk_failed: AtomicBool::new(false),
            filling: Mutex::default(),
        }))
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

    /// Takes a place among the followers, given back when it is dropped. `TOO_MANY_SUBSCRIBERS` if there is
    /// none left, in the store or in this ledger.
    pub fn follower(&self) -> Result<Follower, Error> {
        take_place(&self.0.followers, MAX_FOLLOWERS, "processSubscribers")?;
        let mut follower = Follower {
            ledger: self.clone(),
            counted: false,
        };
        self.0.store.add_follower()?;
        follower.counted = true;
        Ok(follower)
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

    /// Resolves when a writer may go on: at once, but for one that writes faster than the disk.
    fn room(&self) -> impl Future<Output = ()> + '_ {
        let store = &self.0.store;
        let is_full = move || {
            self.0.sequence().bytes().0 > LEDGER_MEMORY_MAX_BYTES
                || store.memory_bytes.load(Ordering::Relaxed) > 2 * store.caps.memory_bytes
        };
        async move {
            while is_full() {
                let mut freed = pin!(store.freed.notified());
                freed.as_mut().enable();
                if !is_full() {
                    return;
                }
                freed.await;
            }
        }
    }
}

impl Inner {
    fn sequence(&self) -> MutexGuard<'_, Sequence> {
        self.sequence
            .lock()
            .expect("no code panics while it holds this lock")
    }

    fn filling(&self) -> MutexGuard<'_, Option<Filling>> {
        self.filling
            .lock()
            .expect("no code panics while it holds this lock")
    }

    /// Changes the sequence and keeps the store's books.
    fn change<T>(&self, change: impl FnOnce(&mut Sequence) -> T) -> T {
        let mut sequence = self.sequence();
        let (memory, disk) = sequence.bytes();
        let result = change(&mut sequence);
        let (memory_after, disk_after) = sequence.bytes();
        let discarded = sequence.take_discarded();
        // Under the lock, so that the sums never fall below what is there.
        let book = |sum: &AtomicU64, before: u64, after: u64| {
            if before != after {
                sum.fetch_add(after.wrapping_sub(before), Ordering::Relaxed);
            }
        };
        book(&self.store.memory_bytes, memory, memory_after);
        book(&self.store.disk_bytes, disk, disk_after);
        drop(sequence);
        if !discarded.is_empty() {
            self.store.give(Task::Close(discarded));
        }
        result
    }

    fn grew(self: &Arc<Self>, at: Timestamp, memory_bytes: u64) {
        self.last_change.store(at.0, Ordering::Relaxed);
        self.changed.notify_waiters();
        if memory_bytes > LEDGER_MEMORY_BYTES && !self.spill_due.swap(true, Ordering::AcqRel) {
            self.store.give(Task::Spill(Arc::downgrade(self)));
        }
        self.store.relieve();
    }

    fn spill_begins(&self) {
        self.spill_due.store(false, Ordering::Release);
    }

    /// Says once that this ledger cannot be written to disk.
    fn disk_failed(&self, error: &io::Error) {
        if !self.disk_failed.swap(true, Ordering::Relaxed) {
            let id = &self.process_id;
            eprintln!("supervisor: the log of {id} cannot be kept whole on disk: {error}");
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.store.forget(self.id);
        let segments = self.change(Sequence::discard_all);
        if !segments.is_empty() {
            self.store.give(Task::Close(segments));
        }
        self.store.freed.notify_waiters();
    }
}

/// A place among the followers.
#[derive(Debug)]
pub struct Follower {
    ledger: Ledger,
    /// Whether the store counts it too.
    counted: bool,
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.ledger.0.followers.fetch_sub(1, Ordering::Relaxed);
        if self.counted {
            self.ledger.0.store.remove_follower();
        }
    }
}
