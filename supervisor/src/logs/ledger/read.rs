//! What a reader at some position of the sequence finds.

use std::sync::Arc;

use bytes::Bytes;
use sandbox_protocol::cursor::Position;
use sandbox_protocol::kept::{HEAD_BYTES, head, next_entry};

use super::super::segment::Segment;
use super::{Place, Sealed, Sequence, len_u32};

/// The most that one read from a segment takes, in bytes, unless a single block is larger.
const MAX_READ_BYTES: usize = 128 << 10;

/// The place of a position in the blocks, so that a reader need not search for it again.
#[derive(Clone, Copy, Debug)]
pub(in crate::logs) struct Spot {
    block: u64,
    offset: usize,
    /// The position at `offset`, which is the beginning of a frame.
    start: Position,
}

/// What a reader at some position finds.
#[derive(Debug)]
pub(in crate::logs) enum Found {
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
pub(in crate::logs) enum Source {
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
    /// Whether `position` can be one of this sequence. Inside a block that is sealed the parts of it are
    /// taken on trust; a forged one harms nobody but its reader.
    pub(in crate::logs) fn has(&self, position: Position) -> bool {
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
    pub(in crate::logs) fn read(&self, at: Position, spot: Option<Spot>) -> Found {
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
    pub(in crate::logs) fn block_starts(&self) -> Vec<Position> {
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
        while let Some(entry) = next_entry(&mut rest) {
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
