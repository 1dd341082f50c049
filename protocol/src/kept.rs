//! The log as it is stored: frames of one entry each, in segment files and in the object's kept log.
//!
//! A frame is the kind (one byte), the time (`i64`, milliseconds), the length (`u32`), both little-endian,
//! and the bytes. A mark's bytes are the JSON of its event.

use crate::cursor::Position;
use crate::log::Stream;
use crate::time::Timestamp;

/// The length of a frame's head, in bytes.
pub const HEAD_BYTES: usize = 13;

/// What one frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Output of the process.
    Output(Stream),
    /// An event that is no output: `restart`, `exit`.
    Mark,
}

/// One entry of a stored log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// What it is.
    pub kind: Kind,
    /// When it was read from the pipe.
    pub at: Timestamp,
    /// The output, or the event's JSON.
    pub bytes: &'a [u8],
}

impl Kind {
    const fn code(self) -> u8 {
        match self {
            Self::Output(Stream::Stdout) => 0,
            Self::Output(Stream::Stderr) => 1,
            Self::Mark => 2,
        }
    }

    const fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Output(Stream::Stdout)),
            1 => Some(Self::Output(Stream::Stderr)),
            2 => Some(Self::Mark),
            _ => None,
        }
    }
}

impl Position {
    /// The position after an entry of `kind` with `bytes` bytes.
    #[must_use]
    pub const fn after(mut self, kind: Kind, bytes: u64) -> Self {
        match kind {
            Kind::Output(Stream::Stdout) => self.stdout += bytes,
            Kind::Output(Stream::Stderr) => self.stderr += bytes,
            Kind::Mark => self.marks += 1,
        }
        self
    }
}

/// The head of a frame for `len` bytes.
#[must_use]
pub fn head(kind: Kind, at: Timestamp, len: u32) -> [u8; HEAD_BYTES] {
    let mut head = [0; HEAD_BYTES];
    head[0] = kind.code();
    head[1..9].copy_from_slice(&at.0.to_le_bytes());
    head[9..].copy_from_slice(&len.to_le_bytes());
    head
}

/// Reads a head: the kind, the time, and how many bytes follow. `None` if it is damaged.
#[must_use]
pub fn parse_head(head: &[u8; HEAD_BYTES]) -> Option<(Kind, Timestamp, u32)> {
    let (kind, rest) = head.split_first()?;
    let (at, len) = rest.split_first_chunk::<8>()?;
    Some((
        Kind::from_code(*kind)?,
        Timestamp(i64::from_le_bytes(*at)),
        u32::from_le_bytes(len.try_into().ok()?),
    ))
}

/// Takes the first entry off `frames`. `None` at the end, and where the rest is no whole frame.
pub fn next_entry<'a>(frames: &mut &'a [u8]) -> Option<Entry<'a>> {
    let (head, rest) = frames.split_first_chunk::<HEAD_BYTES>()?;
    let (kind, at, len) = parse_head(head)?;
    let (bytes, rest) = rest.split_at_checked(usize::try_from(len).ok()?)?;
    *frames = rest;
    Some(Entry { kind, at, bytes })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Entry, Kind, head, next_entry};
    use crate::log::Stream;
    use crate::time::Timestamp;

    proptest! {
        #[test]
        fn entries_are_read_back(entries in prop::collection::vec((0_u8..3, any::<i64>(), prop::collection::vec(any::<u8>(), 0..50)), 0..20)) {
            let kinds = [Kind::Output(Stream::Stdout), Kind::Output(Stream::Stderr), Kind::Mark];
            let mut frames = Vec::new();
            for (kind, at, bytes) in &entries {
                frames.extend(head(kinds[usize::from(*kind)], Timestamp(*at), u32::try_from(bytes.len()).unwrap()));
                frames.extend(bytes);
            }
            let mut rest = frames.as_slice();
            for (kind, at, bytes) in &entries {
                prop_assert_eq!(next_entry(&mut rest), Some(Entry { kind: kinds[usize::from(*kind)], at: Timestamp(*at), bytes }));
            }
            prop_assert!(rest.is_empty());
        }

        #[test]
        fn damaged_frames_end_the_reading(mut frames in prop::collection::vec(any::<u8>(), 0..100)) {
            frames.push(9);
            let mut rest = frames.as_slice();
            while next_entry(&mut rest).is_some() {}
        }
    }
}
