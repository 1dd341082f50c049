//! The ledger itself, pure: one ordered sequence of output and marks, the oldest dropped over the cap.
//!
//! ```text
//! start                                                                                  end
//!   | block | block | block | block | block | block | block | block | block | open block |
//!   '---- one segment file ----'---- another -------'------- in memory ------------------'
//! ```
//!
//! Blocks hold frames of [`sandbox_protocol::kept`] and are numbered without a gap. New frames go into the
//! open block; a full one is sealed and never changes again. Sealed blocks move from memory to segment files
//! in order, so those on disk are always the older ones. Whole segments are dropped, or single blocks that
//! are still in memory. Time comes in as a value, and whoever calls holds the lock.

mod leave;
mod read;

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use sandbox_protocol::cursor::Position;
use sandbox_protocol::kept::{HEAD_BYTES, Kind, head};
use sandbox_protocol::log::Stream;
use sandbox_protocol::time::Timestamp;

use super::segment::Segment;
use super::utf8;

pub(super) use read::{Found, Source, Spot};

/// The longest piece of output in one frame, in bytes.
pub(super) const MAX_CHUNK_BYTES: usize = 64 << 10;

/// What a smaller rest of a block is left empty for, so that output is not cut into slivers.
const SLIVER_BYTES: usize = 4 << 10;

/// One ordered sequence of frames.
#[derive(Debug)]
pub(super) struct Sequence {
    /// Sealed blocks, the oldest first.
    sealed: VecDeque<Sealed>,
    /// The number of the first sealed block.
    first: u64,
    open: Open,
    sizes: Sizes,
    /// Frame bytes in memory, the open block's included.
    memory_bytes: u64,
    /// Frame bytes in segment files.
    disk_bytes: u64,
    end: Position,
    closed: bool,
    late_bytes: u64,
    /// Segments without a block that is kept, to be closed by whoever may wait for the disk.
    discarded: Vec<Arc<Segment>>,
}

/// How large the parts of a ledger are, in bytes of frames.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    /// All of it.
    pub(super) cap: u64,
    /// One segment file.
    pub(super) segment: u64,
    /// One block.
    pub(super) block: usize,
}

impl Sizes {
    /// Parts that suit a ledger of `cap` bytes: what is dropped at once is an eighth of it at most.
    pub(super) fn of(cap: u64) -> Self {
        let block = (cap / 8).clamp(64, 128 << 10);
        Self {
            cap,
            segment: (cap / 8).clamp(block, 4 << 20),
            block: usize::try_from(block).expect("128 KiB fit"),
        }
    }
}

/// A block that is full.
#[derive(Debug)]
struct Sealed {
    start: Position,
    end: Position,
    len: usize,
    place: Place,
}

/// Where a sealed block lies.
#[derive(Debug)]
enum Place {
    Memory(Bytes),
    Disk { segment: Arc<Segment>, offset: u64 },
}

/// The block that grows.
#[derive(Debug, Default)]
struct Open {
    start: Position,
    frames: Vec<u8>,
    last: Option<Last>,
}

/// The newest frame, which output of the same stream and millisecond still extends.
#[derive(Clone, Copy, Debug)]
struct Last {
    kind: Kind,
    at: Timestamp,
    /// Where its head begins in the open block.
    offset: usize,
    start: Position,
}

impl Sequence {
    /// An empty sequence.
    pub(super) fn new(sizes: Sizes) -> Self {
        Self {
            sealed: VecDeque::new(),
            first: 0,
            open: Open::default(),
            sizes,
            memory_bytes: 0,
            disk_bytes: 0,
            end: Position::START,
            closed: false,
            late_bytes: 0,
            discarded: Vec::new(),
        }
    }

    /// Adds output. After [`Sequence::close`] it is counted and dropped.
    pub(super) fn append(&mut self, stream: Stream, at: Timestamp, mut bytes: &[u8]) {
        if self.closed {
            self.late_bytes += bytes.len() as u64;
            return;
        }
        let kind = Kind::Output(stream);
        while !bytes.is_empty() {
            let taken = match self.extend(kind, at, bytes) {
                0 => self.push_output(kind, at, bytes),
                taken => taken,
            };
            bytes = &bytes[taken..];
        }
        self.enforce_cap();
    }

    /// Adds a mark, unless the sequence is closed.
    pub(super) fn mark(&mut self, at: Timestamp, json: &[u8]) {
        if self.closed {
            return;
        }
        if self.room() < HEAD_BYTES + json.len() {
            self.seal();
        }
        self.push(Kind::Mark, at, json);
        self.enforce_cap();
    }

    /// Ends the sequence: nothing comes after what is there.
    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Counts output that is not kept because it came too late.
    pub(super) fn drop_late(&mut self, bytes: u64) {
        self.late_bytes += bytes;
    }

    /// How much output came too late, in bytes.
    pub(super) fn late_bytes(&self) -> u64 {
        self.late_bytes
    }

    /// After the newest.
    pub(super) fn end(&self) -> Position {
        self.end
    }

    /// Before the oldest that is kept.
    pub(super) fn start(&self) -> Position {
        self.sealed
            .front()
            .map_or(self.open.start, |block| block.start)
    }

    /// Frame bytes in memory and in segment files.
    pub(super) fn bytes(&self) -> (u64, u64) {
        (self.memory_bytes, self.disk_bytes)
    }

    /// Adds to the newest frame what it can take of `bytes`.
    fn extend(&mut self, kind: Kind, at: Timestamp, bytes: &[u8]) -> usize {
        let Some(last) = self.open.last else { return 0 };
        if last.kind != kind || last.at != at {
            return 0;
        }
        let body = last.offset + HEAD_BYTES;
        let used = self.open.frames.len() - body;
        let room = (MAX_CHUNK_BYTES - used).min(self.room());
        let taken = utf8::floor(bytes, room);
        if taken == 0 || (taken < bytes.len() && taken < SLIVER_BYTES.min(self.sizes.block / 2)) {
            return 0;
        }
        self.open.frames.extend_from_slice(&bytes[..taken]);
        let head = head(kind, at, len_u32(used + taken));
        self.open.frames[last.offset..body].copy_from_slice(&head);
        self.memory_bytes += taken as u64;
        self.end = self.end.after(kind, taken as u64);
        taken
    }

    /// Begins a frame with what fits of `bytes`.
    fn push_output(&mut self, kind: Kind, at: Timestamp, bytes: &[u8]) -> usize {
        let least = bytes.len().min(SLIVER_BYTES.min(self.sizes.block / 2));
        if self.room() < HEAD_BYTES + least {
            self.seal();
        }
        let room = self.room().saturating_sub(HEAD_BYTES).min(MAX_CHUNK_BYTES);
        let taken = utf8::floor(bytes, room);
        debug_assert!(taken > 0, "the smallest block takes more than a character");
        self.push(kind, at, &bytes[..taken]);
        taken
    }

    fn push(&mut self, kind: Kind, at: Timestamp, bytes: &[u8]) {
        self.open.last = Some(Last {
            kind,
            at,
            offset: self.open.frames.len(),
            start: self.end,
        });
        let frames = &mut self.open.frames;
        frames.extend_from_slice(&head(kind, at, len_u32(bytes.len())));
        frames.extend_from_slice(bytes);
        self.memory_bytes += (HEAD_BYTES + bytes.len()) as u64;
        self.end = self.end.after(kind, bytes.len() as u64);
    }

    /// How many bytes the open block still takes.
    fn room(&self) -> usize {
        self.sizes.block.saturating_sub(self.open.frames.len())
    }

    /// Closes the open block, so that it can move to a segment.
    pub(super) fn seal(&mut self) {
        if self.open.frames.is_empty() {
            return;
        }
        let full = std::mem::take(&mut self.open);
        // A ledger that filled a block will fill the next; a small one never takes more than it needs.
        if full.frames.len() > self.sizes.block / 2 {
            self.open.frames.reserve_exact(self.sizes.block);
        }
        self.open.start = self.end;
        self.sealed.push_back(Sealed {
            start: full.start,
            end: self.end,
            len: full.frames.len(),
            place: Place::Memory(full.frames.into()),
        });
    }

    fn enforce_cap(&mut self) {
        while self.memory_bytes + self.disk_bytes > self.sizes.cap && self.drop_oldest() {}
    }
}

fn len_u32(len: usize) -> u32 {
    u32::try_from(len).expect("a frame is at most a chunk or the JSON of an event")
}
