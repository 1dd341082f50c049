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

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use sandbox_protocol::cursor::Position;
use sandbox_protocol::kept::{HEAD_BYTES, Kind, head};
use sandbox_protocol::log::Stream;
use sandbox_protocol::time::Timestamp;

use super::segment::Segment;
use super::utf8;

/// The longest piece of output in one frame, in bytes.
pub(super) const MAX_CHUNK_BYTES: usize = 64 << 10;

/// The most that one read from a segment takes, in bytes, unless a single block is larger.
const MAX_READ_BYTES: usize = 128 << 10;

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

/// The place of a position in the blocks, so that a reader need not search for it again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spot {
    block: u64,
    offset: usize,
    /// The position at `offset`, which is the beginning of a frame.
    start: Position,
}

/// What a reader at some position finds.
#[derive(Debug)]
pub(super) enum Found {
    /// What comes next was dropped; the oldest that is kept begins at `to`.
    Gap { to: Position },
    /// Frames, the first of which begins at `start` or before it and reaches beyond the reader's position.
    Frames {
        source: Source,
        start: Position,
        end: Position,
        next: Spot,
    },
    /// All is read, and more may come.
    Nothing,
    /// All is read, and no more will come.
    Ended,
}

/// Where the frames that a reader found are.
#[derive(Clone, Debug)]
pub(super) enum Source {
    /// Here.
    Memory(Bytes),
    /// `len` bytes from `offset` of a segment.
    Disk {
        segment: Arc<Segment>,
        offset: u64,
        len: usize,
    },
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

    /// Whether `position` can be one of this sequence. Inside a block that is sealed the parts of it are
    /// taken on trust; a forged one harms nobody but its reader.
    pub(super) fn has(&self, position: Position) -> bool {
        let within = |from: Position, to: Position| {
            (from.stdout..=to.stdout).contains(&position.stdout)
                && (from.stderr..=to.stderr).contains(&position.stderr)
                && (from.marks..=to.marks).contains(&position.marks)
        };
        if position < self.start() {
            return within(Position::START, self.start());
        }
        match self.block_after(position) {
            Some(block) => within(block.start, block.end),
            None => within(self.open.start, self.end),
        }
    }

    /// What comes after `at`, which lies in this sequence. `spot` is what the last answer said.
    pub(super) fn read(&self, at: Position, spot: Option<Spot>) -> Found {
        if at < self.start() {
            return Found::Gap { to: self.start() };
        }
        if at >= self.end {
            return if self.closed {
                Found::Ended
            } else {
                Found::Nothing
            };
        }
        let index = self.index_after(at);
        // A spot in an earlier block is used up; the next begins at its own start.
        let spot = spot.filter(|spot| spot.block == self.first + index as u64);
        match self.sealed.get(index) {
            Some(block) => self.read_sealed(index, block, spot),
            None => self.read_open(at, spot),
        }
    }

    /// Where the blocks begin, the newest first.
    pub(super) fn block_starts(&self) -> Vec<Position> {
        let open = std::iter::once(self.open.start);
        open.chain(self.sealed.iter().rev().map(|block| block.start))
            .collect()
    }

    fn block_after(&self, position: Position) -> Option<&Sealed> {
        self.sealed.get(self.index_after(position))
    }

    /// The index of the sealed block that has what comes after `position`.
    fn index_after(&self, position: Position) -> usize {
        self.sealed.partition_point(|block| block.end <= position)
    }

    fn read_sealed(&self, index: usize, block: &Sealed, spot: Option<Spot>) -> Found {
        let (skipped, start) = spot.map_or((0, block.start), |spot| (spot.offset, spot.start));
        let after = |taken: usize, end: Position| Spot {
            block: self.first + (index + taken) as u64,
            offset: 0,
            start: end,
        };
        match &block.place {
            Place::Memory(frames) => Found::Frames {
                source: Source::Memory(frames.slice(skipped..)),
                start,
                end: block.end,
                next: after(1, block.end),
            },
            Place::Disk { segment, offset } => {
                let (taken, len, end) = self.contiguous(index);
                Found::Frames {
                    source: Source::Disk {
                        segment: Arc::clone(segment),
                        offset: offset + skipped as u64,
                        len: len - skipped,
                    },
                    start,
                    end,
                    next: after(taken, end),
                }
            }
        }
    }

    /// How many blocks from `index` on lie in the same segment and make one read, their length and end.
    fn contiguous(&self, index: usize) -> (usize, usize, Position) {
        let (mut len, mut end, mut taken) = (0, Position::START, 0);
        for block in self.sealed.range(index..) {
            let fits = taken == 0 || len + block.len <= MAX_READ_BYTES;
            if !fits || !self.sealed[index].place.shares_segment(&block.place) {
                break;
            }
            (taken, len, end) = (taken + 1, len + block.len, block.end);
        }
        (taken, len, end)
    }

    /// Copies what the open block has after `at`; a frame that is read in part gets a head of its own.
    fn read_open(&self, at: Position, spot: Option<Spot>) -> Found {
        let (mut offset, mut start) =
            spot.map_or((0, self.open.start), |spot| (spot.offset, spot.start));
        let frames = &self.open.frames;
        let mut rest = &frames[offset..];
        let mut copy = Vec::new();
        while let Some(entry) = sandbox_protocol::kept::next_entry(&mut rest) {
            let after = start.after(entry.kind, entry.bytes.len() as u64);
            if after > at {
                let skip = usize::try_from(at.sequence().saturating_sub(start.sequence()))
                    .unwrap_or(usize::MAX);
                if skip > 0 {
                    let unread = &entry.bytes[skip..];
                    copy.reserve_exact(HEAD_BYTES + unread.len() + rest.len());
                    copy.extend(head(entry.kind, entry.at, len_u32(unread.len())));
                    copy.extend_from_slice(unread);
                    start = at;
                    offset = frames.len() - rest.len();
                }
                break;
            }
            start = after;
            offset = frames.len() - rest.len();
        }
        copy.extend_from_slice(&frames[offset..]);
        let last = self.open.last.expect("a block with frames has a last one");
        Found::Frames {
            source: Source::Memory(copy.into()),
            start,
            end: self.end,
            next: Spot {
                block: self.first + self.sealed.len() as u64,
                offset: last.offset,
                start: last.start,
            },
        }
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

    /// Drops the oldest segment, or the oldest block if it is still in memory; never the open block.
    /// Tells whether there was one.
    pub(super) fn drop_oldest(&mut self) -> bool {
        let Some(oldest) = self.sealed.pop_front() else {
            return false;
        };
        self.first += 1;
        match oldest.place {
            Place::Memory(_) => self.memory_bytes -= oldest.len as u64,
            Place::Disk { segment, .. } => {
                self.disk_bytes -= oldest.len as u64;
                while let Some(block) = self.sealed.pop_front_if(|block| block.is_in(&segment)) {
                    self.first += 1;
                    self.disk_bytes -= block.len as u64;
                }
                self.discarded.push(segment);
            }
        }
        true
    }

    /// Takes the segments that nothing refers to any more.
    pub(super) fn take_discarded(&mut self) -> Vec<Arc<Segment>> {
        std::mem::take(&mut self.discarded)
    }

    /// Takes every segment, at the end of the ledger's life.
    pub(super) fn discard_all(&mut self) -> Vec<Arc<Segment>> {
        while self.drop_oldest() {}
        self.take_discarded()
    }

    /// When the oldest segment on disk was begun, by the store's count.
    pub(super) fn oldest_segment(&self) -> Option<u64> {
        match &self.sealed.front()?.place {
            Place::Disk { segment, .. } => Some(segment.ordinal()),
            Place::Memory(_) => None,
        }
    }

    /// The oldest sealed blocks in memory, as many as it takes to have no more than `keep` bytes there,
    /// and about a mebibyte at most; with the number of each.
    pub(super) fn to_spill(&self, keep: u64) -> Vec<(u64, Bytes)> {
        let mut excess = self.memory_bytes.saturating_sub(keep).min(1 << 20);
        let on_disk = self.sealed.partition_point(Sealed::is_on_disk);
        let mut blocks = Vec::new();
        for (index, block) in self.sealed.iter().enumerate().skip(on_disk) {
            if excess == 0 {
                break;
            }
            if let Place::Memory(frames) = &block.place {
                excess = excess.saturating_sub(block.len as u64);
                blocks.push((self.first + index as u64, frames.clone()));
            }
        }
        blocks
    }

    /// Block `number` lies in `segment` from now on. If it was dropped meanwhile, nothing happens.
    pub(super) fn spilled(&mut self, number: u64, segment: &Arc<Segment>, offset: u64) {
        let index = number.checked_sub(self.first);
        let index = index.and_then(|index| usize::try_from(index).ok());
        if let Some(block) = index.and_then(|index| self.sealed.get_mut(index)) {
            block.place = Place::Disk {
                segment: Arc::clone(segment),
                offset,
            };
            self.memory_bytes -= block.len as u64;
            self.disk_bytes += block.len as u64;
        }
    }

    /// How large one segment file is to be.
    pub(super) fn segment_bytes(&self) -> u64 {
        self.sizes.segment
    }
}

impl Sealed {
    fn is_on_disk(&self) -> bool {
        matches!(self.place, Place::Disk { .. })
    }

    fn is_in(&self, wanted: &Arc<Segment>) -> bool {
        matches!(&self.place, Place::Disk { segment, .. } if Arc::ptr_eq(segment, wanted))
    }
}

impl Place {
    fn shares_segment(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Disk { segment, .. }, Self::Disk { segment: of, .. }) => {
                Arc::ptr_eq(segment, of)
            }
            _ => false,
        }
    }
}

fn len_u32(len: usize) -> u32 {
    u32::try_from(len).expect("a frame is at most a chunk or the JSON of an event")
}
