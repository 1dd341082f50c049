//! The store: every ledger of this boot, what they may use together, and the thread that writes to disk.

use std::collections::HashMap;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use sandbox_protocol::error::ErrorBody;
use tokio::sync::Notify;

use super::Ledger;
use super::follower::take_place;
use super::inner::Inner;
use super::segment::Segment;
use super::spill::{self, Task};

/// What all ledgers may use together.
#[derive(Clone, Copy, Debug)]
pub struct Caps {
    /// Bytes of log, in memory and on disk; beyond it the oldest segment goes, whosever it is.
    pub total_bytes: u64,
    /// Bytes of recent log in memory; beyond it the oldest moves to disk.
    pub memory_bytes: u64,
    /// Followers of all ledgers.
    pub followers: u64,
}

/// Every ledger of one supervisor. A cheap clone.
#[derive(Clone, Debug)]
pub struct Store(pub(super) Arc<Shared>);

/// What the store's handles and the writing thread share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) dir: PathBuf,
    pub(super) caps: Caps,
    ledgers: Mutex<HashMap<u64, Weak<Inner>>>,
    next_id: AtomicU64,
    next_segment: AtomicU64,
    /// Frame bytes of all ledgers in memory; each adds its own changes.
    pub(super) memory_bytes: AtomicU64,
    /// Frame bytes of all ledgers in segments.
    pub(super) disk_bytes: AtomicU64,
    followers: AtomicU64,
    /// Whether the thread has been told that a cap of all is passed, and has not begun with it.
    relief_due: AtomicBool,
    tasks: Sender<Task>,
    /// Told whenever memory became free.
    pub(super) freed: Notify,
}

impl Store {
    /// Creates the folder `dir`, its owner's alone, and starts the thread that writes segments into it.
    /// The thread ends with the last handle.
    pub fn new(dir: PathBuf, caps: Caps) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
        let (tasks, queue) = mpsc::channel();
        let caps = Caps {
            // What is in memory cannot be dropped as a segment, so it stays well below the whole.
            memory_bytes: caps.memory_bytes.min(caps.total_bytes / 2),
            ..caps
        };
        let shared = Arc::new(Shared {
            dir,
            caps,
            ledgers: Mutex::default(),
            next_id: AtomicU64::new(0),
            next_segment: AtomicU64::new(0),
            memory_bytes: AtomicU64::new(0),
            disk_bytes: AtomicU64::new(0),
            followers: AtomicU64::new(0),
            relief_due: AtomicBool::new(false),
            tasks,
            freed: Notify::new(),
        });
        let store = Arc::downgrade(&shared);
        std::thread::Builder::new()
            .name("segments".to_owned())
            .spawn(move || spill::run(&store, &queue))?;
        Ok(Self(shared))
    }

    /// A new, empty ledger for a run of process `process_id`, which keeps at most `log_bytes`.
    #[must_use]
    pub fn ledger(&self, process_id: &str, boot: &str, incarnation: u64, log_bytes: u64) -> Ledger {
        let id = self.0.next_id.fetch_add(1, Ordering::Relaxed);
        let ledger = Ledger::new(&self.0, id, process_id, boot, incarnation, log_bytes);
        self.0.ledgers().insert(id, Arc::downgrade(&ledger.0));
        ledger
    }

    /// Closes every ledger: their followers end after the last event that there is.
    pub fn close(&self) {
        for ledger in self.0.all() {
            Ledger(ledger).close();
        }
    }
}

impl Shared {
    fn ledgers(&self) -> MutexGuard<'_, HashMap<u64, Weak<Inner>>> {
        self.ledgers
            .lock()
            .expect("no code panics while it holds this lock")
    }

    /// Every ledger that lives.
    pub(super) fn all(&self) -> Vec<Arc<Inner>> {
        self.ledgers().values().filter_map(Weak::upgrade).collect()
    }

    pub(super) fn forget(&self, id: u64) {
        self.ledgers().remove(&id);
    }

    pub(super) fn new_segment(&self) -> io::Result<Arc<Segment>> {
        let ordinal = self.next_segment.fetch_add(1, Ordering::Relaxed);
        Segment::create(&self.dir, ordinal).map(Arc::new)
    }

    /// Whether all ledgers together have too much in memory, or at all.
    pub(super) fn is_over(&self) -> bool {
        let memory = self.memory_bytes.load(Ordering::Relaxed);
        let disk = self.disk_bytes.load(Ordering::Relaxed);
        memory > self.caps.memory_bytes || memory + disk > self.caps.total_bytes
    }

    /// Tells the thread if a cap of all is passed, once until it has begun with it.
    pub(super) fn relieve(&self) {
        if self.is_over() && !self.relief_due.swap(true, Ordering::AcqRel) {
            self.give(Task::Relieve);
        }
    }

    pub(super) fn relief_begins(&self) {
        self.relief_due.store(false, Ordering::Release);
    }

    /// Gives the thread something to do.
    pub(super) fn give(&self, task: Task) {
        // The queue is gone only when the thread panicked; then logs stay in memory up to their caps.
        if self.tasks.send(task).is_err() {
            eprintln!("supervisor: the thread that writes logs to disk is gone");
        }
    }

    /// Counts one more follower of all. `TOO_MANY_SUBSCRIBERS` if that is one too many.
    pub(super) fn add_follower(&self) -> Result<(), ErrorBody> {
        take_place(&self.followers, self.caps.followers, "subscribers")
    }

    pub(super) fn remove_follower(&self) {
        self.followers.fetch_sub(1, Ordering::Relaxed);
    }
}
