//! The last lines of a ledger: where they begin, and what they say.

use sandbox_protocol::cursor::Position;
use sandbox_protocol::kept::Kind;
use sandbox_protocol::log::Selection;

use super::Ledger;
use super::batch::{Batch, Entry};
use super::reader::{Reader, Step};

/// How much of the end is looked at for the last lines as text, in bytes.
const TEXT_BYTES: usize = 64 << 10;

/// Where the last `lines` lines of the selected streams begin. The streams are taken as one text in the order
/// in which they were read. If they begin before what is kept, the very start, so that the gap is told. May wait for the disk.
pub(super) fn position(ledger: &Ledger, selected: Selection, lines: u64) -> Position {
    let (starts, mut until) = {
        let sequence = ledger.0.sequence();
        (sequence.block_starts(), sequence.end())
    };
    // How many line ends lie between the beginning of the last lines and the end; known at the last byte.
    let mut ends = None;
    for start in starts {
        let reader = Reader::new(ledger.clone(), selected, start, None).until(until);
        let Some(batches) = read_all(reader) else {
            break;
        };
        until = start;
        let Some(last) = batches.iter().flat_map(outputs).last() else {
            continue;
        };
        if lines == 0 {
            return last.after;
        }
        let wanted = *ends.get_or_insert(lines + u64::from(last.bytes.ends_with(b"\n")));
        let found: usize = batches.iter().flat_map(outputs).map(line_ends).sum();
        match (found as u64).checked_sub(wanted) {
            None => ends = Some(wanted - found as u64),
            Some(skipped) => {
                return after_line_end(batches.iter().flat_map(outputs), skipped);
            }
        }
    }
    Position::START
}

/// The last `lines` lines as text, of what lies in the newest two blocks. May wait for the disk.
pub(super) fn lines(ledger: &Ledger, lines: usize) -> Vec<String> {
    let (start, end) = {
        let sequence = ledger.0.sequence();
        let starts = sequence.block_starts();
        (
            starts.get(1).unwrap_or(&starts[0]).to_owned(),
            sequence.end(),
        )
    };
    let reader = Reader::new(ledger.clone(), Selection::Both, start, None).until(end);
    let batches = read_all(reader).unwrap_or_default();
    let mut text: Vec<u8> = Vec::new();
    for entry in batches.iter().flat_map(outputs) {
        text.extend_from_slice(entry.bytes);
    }
    let newest = &text[text.len().saturating_sub(TEXT_BYTES)..];
    let newest = String::from_utf8_lossy(newest);
    let all: Vec<&str> = newest.lines().collect();
    let first = all.len().saturating_sub(lines);
    all[first..].iter().map(|line| (*line).to_owned()).collect()
}

/// Everything up to the reader's end; `None` if some of it was dropped meanwhile.
fn read_all(mut reader: Reader) -> Option<Vec<Batch>> {
    let mut batches = Vec::new();
    loop {
        match reader.step_blocking() {
            Step::Entries(batch) => batches.push(batch),
            Step::Gap(_) => return None,
            Step::Idle | Step::Ended => return Some(batches),
        }
    }
}

fn outputs(batch: &Batch) -> impl Iterator<Item = Entry<'_>> {
    batch
        .entries()
        .filter(|entry| matches!(entry.kind, Kind::Output(_)))
}

fn line_ends(entry: Entry<'_>) -> usize {
    memchr::memchr_iter(b'\n', entry.bytes).count()
}

/// The position just after the line end that comes after `skipped` others.
fn after_line_end<'a>(entries: impl Iterator<Item = Entry<'a>>, mut skipped: u64) -> Position {
    for entry in entries {
        for index in memchr::memchr_iter(b'\n', entry.bytes) {
            if skipped == 0 {
                return before(&entry).after(entry.kind, index as u64 + 1);
            }
            skipped -= 1;
        }
    }
    Position::START
}

/// The position at the first byte of an output.
fn before(entry: &Entry<'_>) -> Position {
    let bytes = entry.bytes.len() as u64;
    let mut position = entry.after;
    match entry.kind {
        Kind::Output(sandbox_protocol::log::Stream::Stdout) => position.stdout -= bytes,
        Kind::Output(sandbox_protocol::log::Stream::Stderr) => position.stderr -= bytes,
        Kind::Mark => position.marks -= 1,
    }
    position
}
