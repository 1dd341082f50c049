//! Entries that were read together.

use bytes::Bytes;
use sandbox_protocol::cursor::Position;
use sandbox_protocol::kept::{Kind, next_entry};
use sandbox_protocol::log::Selection;
use sandbox_protocol::time::Timestamp;

/// Entries that were read together.
#[derive(Debug)]
pub struct Batch {
    pub(super) frames: Bytes,
    /// The position at the first frame.
    pub(super) start: Position,
    /// What lies before it is not for this reader.
    pub(super) from: Position,
    /// What lies after it is not either.
    pub(super) until: Position,
    pub(super) selected: Selection,
}

/// Output or a mark, with the position after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// What it is.
    pub kind: Kind,
    /// When it was read from the pipe.
    pub at: Timestamp,
    /// The output, or the event's JSON.
    pub bytes: &'a [u8],
    /// Just after it.
    pub after: Position,
}

impl Batch {
    /// The entries that are selected, in order. Marks always are.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        let mut rest = &self.frames[..];
        let mut start = self.start;
        std::iter::from_fn(move || {
            loop {
                let entry = next_entry(&mut rest).filter(|_| start < self.until)?;
                let before = start;
                start = before.after(entry.kind, entry.bytes.len() as u64);
                let selected = match entry.kind {
                    Kind::Mark => true,
                    Kind::Output(stream) => self.selected.has(stream),
                };
                if selected && start > self.from {
                    return Some(self.clip(entry, before, start));
                }
            }
        })
    }

    /// Cuts off what lies before or after this reader's part.
    fn clip<'a>(
        &self,
        entry: sandbox_protocol::kept::Entry<'a>,
        before: Position,
        after: Position,
    ) -> Entry<'a> {
        let distance = |from: Position, to: Position| {
            let bytes = to.sequence().saturating_sub(from.sequence());
            usize::try_from(bytes).unwrap_or(usize::MAX)
        };
        let mut bytes = entry.bytes;
        let mut end = after;
        if let Kind::Output(_) = entry.kind {
            bytes = &bytes[..bytes.len() - distance(self.until, after)];
            end = before.after(entry.kind, bytes.len() as u64);
            bytes = &bytes[distance(before, self.from).min(bytes.len())..];
        }
        Entry {
            kind: entry.kind,
            at: entry.at,
            bytes,
            after: end,
        }
    }
}
