//! A piece of a ledger for the object to keep: one gzip member of frames.

use std::io::{self, Write};

use flate2::Compression;
use flate2::write::GzEncoder;
use sandbox_protocol::cursor::{Cursor, Position};
use sandbox_protocol::kept::{Kind, head};
use sandbox_protocol::log::Selection;

use super::batch::Entry;
use super::reader::{Reader, Step};
use super::utf8;
use super::{Ledger, off_thread};

/// How large a piece becomes at most, in bytes of gzip. The object stores it in one row, well under 2 MB.
const MAX_BYTES: usize = 1 << 20;

/// What one more entry can add at most: its own length, what the compressor holds back, and some.
const MARGIN_BYTES: usize = 256 << 10;

/// A piece of a ledger.
#[derive(Clone, Debug)]
pub struct Piece {
    /// One gzip member; of no frames, where nothing is new.
    pub gzip: Vec<u8>,
    /// The cursor of its first entry.
    pub from: Cursor,
    /// The cursor after its last entry.
    pub to: Cursor,
    /// The ledger's end.
    pub end: Cursor,
}

/// The piece that begins at `reader`, of at most `max_bytes` of frames but always one entry. With `newest`,
/// all but the last so many bytes is skipped first. Compresses and reads files, so it is for a thread that
/// may.
pub fn piece(mut reader: Reader, newest: Option<u64>, max_bytes: u64) -> io::Result<Piece> {
    if let Some(newest) = newest {
        skip(&mut reader, newest);
    }
    let ledger = reader.ledger().clone();
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    let mut frames = 0;
    let (mut from, mut to) = (None, reader.cursor().position);
    'all: loop {
        match reader.step_blocking() {
            Step::Gap(_) => {
                // A gap in the middle ends the piece, so that a piece never has a hole.
                if from.is_some() {
                    break;
                }
                to = reader.cursor().position;
            }
            Step::Idle | Step::Ended => break,
            Step::Entries(batch) => {
                for entry in batch.entries() {
                    let full = gzip.get_ref().len() > MAX_BYTES - MARGIN_BYTES;
                    if from.is_some() && (full || frames >= max_bytes) {
                        break 'all;
                    }
                    from.get_or_insert(to);
                    frames += write(&mut gzip, &entry)?;
                    to = entry.after;
                }
            }
        }
    }
    Ok(Piece {
        gzip: gzip.finish()?,
        from: ledger.cursor(from.unwrap_or(to)),
        to: ledger.cursor(to),
        end: ledger.end(),
    })
}

fn write(out: &mut impl Write, entry: &Entry<'_>) -> io::Result<u64> {
    let len = u32::try_from(entry.bytes.len()).map_err(io::Error::other)?;
    let head = head(entry.kind, entry.at, len);
    out.write_all(&head)?;
    out.write_all(entry.bytes)?;
    Ok((head.len() + entry.bytes.len()) as u64)
}

/// Moves `reader` to where at most `newest` bytes of output are left, between two characters.
fn skip(reader: &mut Reader, newest: u64) {
    let end = reader.ledger().end().position.sequence();
    let Some(target) = end.checked_sub(newest) else {
        return;
    };
    let starts = reader.ledger().0.sequence().block_starts();
    // Where the wanted bytes begin before what is kept, the oldest block is the place.
    let start = starts.iter().find(|start| start.sequence() <= target);
    let Some(&start) = start.or(starts.last()) else {
        return;
    };
    if reader.cursor().position.sequence() >= target {
        return;
    }
    let mut probe = reader.of(reader.selected());
    probe.skip_to(start);
    let Step::Entries(batch) = probe.step_blocking() else {
        return;
    };
    let mut position = start;
    for entry in batch.entries() {
        if entry.after.sequence() > target {
            position = cut(position, &entry, target);
            break;
        }
        position = entry.after;
    }
    reader.skip_to(position);
}

/// The first position in `entry`, which begins at `before`, that is not before `target`.
fn cut(before: Position, entry: &Entry<'_>, target: u64) -> Position {
    let Kind::Output(_) = entry.kind else {
        return before;
    };
    let over = usize::try_from(target.saturating_sub(before.sequence())).unwrap_or(usize::MAX);
    let over = over.min(entry.bytes.len());
    let whole = utf8::floor(entry.bytes, over);
    // A character that lies across the target is left out as a whole.
    let rest = &entry.bytes[whole..];
    let straddling = (over > whole)
        .then(|| (1..=4.min(rest.len())).find(|len| std::str::from_utf8(&rest[..*len]).is_ok()));
    let skipped = whole + straddling.flatten().unwrap_or(over - whole);
    before.after(entry.kind, skipped as u64)
}

impl Ledger {
    /// A reader of both streams that begins with at most the last `bytes` of output.
    pub async fn newest(&self, bytes: u64) -> io::Result<Reader> {
        let mut reader = Reader::new(self.clone(), Selection::Both, Position::START, None);
        off_thread(move || {
            skip(&mut reader, bytes);
            reader
        })
        .await
    }

    /// The piece that begins at `reader`, made on a thread of its own kind.
    pub async fn piece(
        &self,
        reader: Reader,
        newest: Option<u64>,
        max_bytes: u64,
    ) -> io::Result<Piece> {
        off_thread(move || piece(reader, newest, max_bytes))
            .await
            .flatten()
    }
}
