//! A reader: a position in a ledger, and what comes after it.

use std::io;

use bytes::Bytes;
use sandbox_protocol::cursor::{Cursor, Position};
use sandbox_protocol::log::Selection;

use super::batch::Batch;
use super::ledger::{Found, Source, Spot};
use super::{Ledger, off_thread, tail};

/// Reads one ledger at its own pace. It holds a position and nothing else, so being slow costs nothing; what
/// is dropped before it comes to it is told as a gap.
#[derive(Debug)]
pub struct Reader {
    ledger: Ledger,
    selected: Selection,
    at: Position,
    spot: Option<Spot>,
    /// With how many last lines to begin, until that is looked up.
    tail: Option<u64>,
    /// Where to stop, for a reader that does not follow.
    until: Option<Position>,
}

/// What a reader comes to.
#[derive(Debug)]
pub enum Step {
    /// So many bytes of the selected streams were dropped; never 0.
    Gap(u64),
    /// Entries; perhaps none that is selected.
    Entries(Batch),
    /// All is read, and more may come.
    Idle,
    /// All is read, and no more will come.
    Ended,
}

impl Reader {
    pub(super) fn new(
        ledger: Ledger,
        selected: Selection,
        at: Position,
        tail: Option<u64>,
    ) -> Self {
        Self {
            ledger,
            selected,
            at,
            spot: None,
            tail,
            until: None,
        }
    }

    /// The same reader, that ends where the ledger ends now.
    #[must_use]
    pub fn until_now(self) -> Self {
        let end = self.ledger.0.sequence().end();
        self.until(end)
    }

    pub(super) fn until(mut self, position: Position) -> Self {
        self.until = Some(position);
        self
    }

    /// The ledger that it reads.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Where it stands.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        self.ledger.cursor(self.at)
    }

    /// Where it is to end, or the ledger's end if it follows.
    pub(super) fn end(&self) -> Cursor {
        self.until
            .map_or_else(|| self.ledger.end(), |until| self.ledger.cursor(until))
    }

    /// Whether it has read all of a ledger to which nothing will be added.
    #[must_use]
    pub fn is_spent(&self) -> bool {
        let sequence = self.ledger.0.sequence();
        self.tail.is_none() && sequence.is_closed() && self.at >= sequence.end()
    }

    /// Comes to what is next. Waits for the disk where that must be, never for output.
    pub async fn step(&mut self) -> Step {
        self.begin().await;
        let unread = match self.find() {
            Next::Step(step) => return step,
            Next::Unread(unread) => unread,
        };
        let source = unread.source.clone();
        let frames = match source {
            Source::Memory(frames) => Ok(frames),
            Source::Disk {
                ref segment,
                offset,
                len,
            } => match segment.read_cached(offset, len) {
                Some(frames) => Ok(frames.into()),
                None => off_thread(move || source.read()).await.flatten(),
            },
        };
        self.take(&unread, frames)
    }

    /// The same on a thread that may wait for the disk. A tail must have been looked up.
    pub fn step_blocking(&mut self) -> Step {
        match self.find() {
            Next::Step(step) => step,
            Next::Unread(unread) => {
                let frames = unread.source.clone().read();
                self.take(&unread, frames)
            }
        }
    }

    /// Looks up where the last lines begin, if it is to begin with them.
    pub async fn begin(&mut self) {
        if let Some(lines) = self.tail {
            let (ledger, selected) = (self.ledger.clone(), self.selected);
            let at = off_thread(move || tail::position(&ledger, selected, lines)).await;
            // A runtime that ends has no use for a position either.
            self.at = at.unwrap_or(self.at);
            self.tail = None;
        }
    }

    /// Resolves when there is more to read, or the end.
    pub async fn more(&self) {
        let at = self.at;
        self.ledger
            .until(|sequence| sequence.end() > at || sequence.is_closed())
            .await;
    }

    /// Another reader that begins and ends where this one does, of other streams.
    pub(super) fn of(&self, selected: Selection) -> Self {
        Self {
            ledger: self.ledger.clone(),
            selected,
            at: self.at,
            spot: None,
            tail: None,
            until: self.until,
        }
    }

    pub(super) fn selected(&self) -> Selection {
        self.selected
    }

    pub(super) fn skip_to(&mut self, position: Position) {
        if position > self.at {
            self.at = position;
            self.spot = None;
        }
    }

    fn find(&mut self) -> Next {
        loop {
            if self.until.is_some_and(|until| self.at >= until) {
                return Next::Step(Step::Ended);
            }
            let found = self.ledger.0.sequence().read(self.at, self.spot);
            match found {
                Found::Nothing => return Next::Step(Step::Idle),
                Found::Ended => return Next::Step(Step::Ended),
                Found::Gap { to } => match self.pass(to) {
                    0 => {}
                    bytes => return Next::Step(Step::Gap(bytes)),
                },
                Found::Frames {
                    source,
                    start,
                    end,
                    next,
                } => {
                    return Next::Unread(Unread {
                        source,
                        start,
                        end,
                        next,
                    });
                }
            }
        }
    }

    /// Goes to `to` over what is gone; how many selected bytes that is.
    fn pass(&mut self, to: Position) -> u64 {
        let to = self.until.map_or(to, |until| until.min(to));
        let bytes = self.at.bytes_until(to, self.selected);
        self.at = to;
        self.spot = None;
        bytes
    }

    fn take(&mut self, unread: &Unread, frames: io::Result<Bytes>) -> Step {
        match frames {
            Ok(frames) => {
                let until = self.until.map_or(unread.end, |until| until.min(unread.end));
                let batch = Batch {
                    frames,
                    start: unread.start,
                    from: self.at,
                    until,
                    selected: self.selected,
                };
                self.at = until;
                self.spot = Some(unread.next);
                Step::Entries(batch)
            }
            Err(error) => {
                // What the disk does not give back is gone, and told like everything that is.
                eprintln!(
                    "supervisor: a part of the log of {} cannot be read: {error}",
                    self.ledger.process_id()
                );
                match self.pass(unread.end) {
                    0 => Step::Idle,
                    bytes => Step::Gap(bytes),
                }
            }
        }
    }
}

/// What a reader comes to, or the frames that are still to be read for it.
#[derive(Debug)]
enum Next {
    Step(Step),
    Unread(Unread),
}

/// Frames whose place is known.
#[derive(Debug)]
struct Unread {
    source: Source,
    start: Position,
    end: Position,
    next: Spot,
}

impl Source {
    fn read(self) -> io::Result<Bytes> {
        match self {
            Self::Memory(frames) => Ok(frames),
            Self::Disk {
                segment,
                offset,
                len,
            } => segment.read(offset, len).map(Bytes::from),
        }
    }
}
