//! The thread that moves blocks from memory to segment files, and drops the oldest where a cap is passed.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Weak};

use bytes::Bytes;

use super::inner::{Inner, LEDGER_MEMORY_BYTES};
use super::segment::Segment;
use super::store::Shared;

/// What the thread is asked to do.
#[derive(Debug)]
pub(super) enum Task {
    /// This ledger has more in memory than it should.
    Spill(Weak<Inner>),
    /// All ledgers together have.
    Relieve,
    /// These are used no more; closing a large file takes time.
    Close(Vec<Arc<Segment>>),
}

/// The segment of one ledger that is being filled.
#[derive(Debug)]
pub(super) struct Filling {
    segment: Arc<Segment>,
    len: u64,
}

/// Works until the store is gone.
pub(super) fn run(store: &Weak<Shared>, queue: &Receiver<Task>) {
    while let Ok(task) = queue.recv() {
        match task {
            Task::Spill(ledger) => {
                if let Some(ledger) = ledger.upgrade() {
                    ledger.spill_begins();
                    // Half of what it may have, so that not every block makes a write of its own.
                    spill(&ledger, LEDGER_MEMORY_BYTES / 2);
                }
            }
            Task::Relieve => {
                if let Some(store) = store.upgrade() {
                    store.relief_begins();
                    relieve(&store);
                }
            }
            Task::Close(segments) => drop(segments),
        }
    }
}

/// Moves the oldest blocks of `ledger` to disk until it has at most `keep` bytes in memory.
fn spill(ledger: &Inner, keep: u64) {
    loop {
        let (blocks, segment_bytes) = {
            let sequence = ledger.sequence();
            (sequence.to_spill(keep), sequence.segment_bytes())
        };
        if blocks.is_empty() {
            return;
        }
        for (number, block) in blocks {
            write_or_drop(ledger, number, &block, segment_bytes);
        }
        ledger.store.freed.notify_waiters();
    }
}

/// Writes one block. On a full disk the ledger's oldest segment makes room for it; where there is none,
/// the block is dropped, since only the newest can stay in memory.
fn write_or_drop(ledger: &Inner, number: u64, block: &Bytes, segment_bytes: u64) {
    loop {
        match write(ledger, block, segment_bytes) {
            Ok((segment, offset)) => {
                ledger.change(|sequence| sequence.spilled(number, &segment, offset));
                return;
            }
            Err(error) => {
                *ledger.filling() = None;
                let oldest = ledger.change(|sequence| {
                    let oldest = sequence.oldest_segment();
                    sequence.drop_oldest();
                    oldest
                });
                ledger.disk_failed(&error);
                if oldest.is_none() {
                    return;
                }
            }
        }
    }
}

fn write(ledger: &Inner, block: &Bytes, segment_bytes: u64) -> io::Result<(Arc<Segment>, u64)> {
    let mut filling = ledger.filling();
    let fits = |filling: &Filling| filling.len + block.len() as u64 <= segment_bytes;
    let current = match filling.take().filter(fits) {
        Some(current) => filling.insert(current),
        None => filling.insert(Filling {
            segment: ledger.store.new_segment()?,
            len: 0,
        }),
    };
    current.segment.write(block, current.len)?;
    let offset = current.len;
    current.len += block.len() as u64;
    Ok((Arc::clone(&current.segment), offset))
}

/// Brings all ledgers together under the caps of all: from memory to disk first, then off the disk.
fn relieve(store: &Shared) {
    let mut ledgers = store.all();
    // Those that have been quiet for longest give up their memory first.
    ledgers.sort_by_key(|ledger| ledger.last_change.load(Ordering::Relaxed));
    for ledger in &ledgers {
        // Down to three quarters, so that not every append asks for relief.
        if store.memory_bytes.load(Ordering::Relaxed) <= store.caps.memory_bytes / 4 * 3 {
            break;
        }
        ledger.sequence().seal();
        spill(ledger, 0);
    }
    while store.memory_bytes.load(Ordering::Relaxed) + store.disk_bytes.load(Ordering::Relaxed)
        > store.caps.total_bytes
    {
        let oldest = ledgers
            .iter()
            .filter_map(|ledger| Some((ledger.sequence().oldest_segment()?, ledger)))
            .min_by_key(|(ordinal, _)| *ordinal);
        let Some((_, ledger)) = oldest else { break };
        ledger.change(|sequence| {
            sequence.drop_oldest();
        });
    }
}
