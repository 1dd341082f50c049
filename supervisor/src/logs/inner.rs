//! What the handles of a ledger share: the lock around the sequence, and the store's books of it.

use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use sandbox_protocol::time::Timestamp;
use tokio::sync::Notify;

use super::ledger::{Sequence, Sizes};
use super::now;
use super::spill::{Filling, Task};
use super::store::Shared;

/// What one ledger keeps in memory before its oldest blocks move to disk, in bytes.
pub(super) const LEDGER_MEMORY_BYTES: u64 = 4 << 20;

/// What one ledger has in memory at most; beyond it the process waits for the disk.
const LEDGER_MEMORY_MAX_BYTES: u64 = 2 * LEDGER_MEMORY_BYTES;

/// What the handles of a ledger share.
#[derive(Debug)]
pub(super) struct Inner {
    pub(super) store: Arc<Shared>,
    pub(super) id: u64,
    pub(super) process_id: String,
    pub(super) boot: String,
    pub(super) incarnation: u64,
    sequence: Mutex<Sequence>,
    /// Told at every change.
    pub(super) changed: Notify,
    /// When it last grew, in milliseconds since the epoch.
    pub(super) last_change: AtomicI64,
    pub(super) followers: AtomicU64,
    spill_due: AtomicBool,
    disk_failed: AtomicBool,
    /// Used by the thread that writes segments only.
    filling: Mutex<Option<Filling>>,
}

impl Inner {
    pub(super) fn new(
        store: Arc<Shared>,
        id: u64,
        process_id: &str,
        boot: &str,
        incarnation: u64,
        log_bytes: u64,
    ) -> Self {
        Self {
            store,
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
        }
    }

    pub(super) fn sequence(&self) -> MutexGuard<'_, Sequence> {
        self.sequence
            .lock()
            .expect("no code panics while it holds this lock")
    }

    pub(super) fn filling(&self) -> MutexGuard<'_, Option<Filling>> {
        self.filling
            .lock()
            .expect("no code panics while it holds this lock")
    }

    /// Changes the sequence and keeps the store's books.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Sequence) -> T) -> T {
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

    pub(super) fn grew(self: &Arc<Self>, at: Timestamp, memory_bytes: u64) {
        self.last_change.store(at.0, Ordering::Relaxed);
        self.changed.notify_waiters();
        if memory_bytes > LEDGER_MEMORY_BYTES && !self.spill_due.swap(true, Ordering::AcqRel) {
            self.store.give(Task::Spill(Arc::downgrade(self)));
        }
        self.store.relieve();
    }

    pub(super) fn spill_begins(&self) {
        self.spill_due.store(false, Ordering::Release);
    }

    /// Says once that this ledger cannot be written to disk.
    pub(super) fn disk_failed(&self, error: &io::Error) {
        if !self.disk_failed.swap(true, Ordering::Relaxed) {
            let id = &self.process_id;
            eprintln!("supervisor: the log of {id} cannot be kept whole on disk: {error}");
        }
    }

    /// Resolves when a writer may go on: at once, but for one that writes faster than the disk.
    pub(super) async fn room(&self) {
        let store = &self.store;
        let is_full = || {
            self.sequence().bytes().0 > LEDGER_MEMORY_MAX_BYTES
                || store.memory_bytes.load(Ordering::Relaxed) > 2 * store.caps.memory_bytes
        };
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
