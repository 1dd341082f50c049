//! Where a reader stands in a log: opaque to clients, exact for us.

use std::cmp::Ordering;
use std::fmt;

/// How much of a ledger lies before a point: bytes of each stream, and marks (`restart`, `exit`, `build`).
///
/// The ledger is one ordered sequence in which every byte and every mark counts one, so positions of one
/// ledger are ordered by their sum. Keeping the streams apart makes a gap exact for a reader of only one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Position {
    /// Bytes of stdout before this point.
    pub stdout: u64,
    /// Bytes of stderr before this point.
    pub stderr: u64,
    /// Marks before this point.
    pub marks: u64,
}

impl Position {
    /// Where every ledger begins.
    pub const START: Self = Self {
        stdout: 0,
        stderr: 0,
        marks: 0,
    };

    /// The place in the one sequence.
    #[must_use]
    pub const fn sequence(self) -> u64 {
        self.stdout + self.stderr + self.marks
    }

    /// The bytes of the `selected` streams between `self` and a later `end`.
    #[must_use]
    pub const fn bytes_until(self, end: Self, selected: crate::log::Selection) -> u64 {
        let stdout = if selected.has(crate::log::Stream::Stdout) {
            end.stdout.saturating_sub(self.stdout)
        } else {
            0
        };
        let stderr = if selected.has(crate::log::Stream::Stderr) {
            end.stderr.saturating_sub(self.stderr)
        } else {
            0
        };
        stdout + stderr
    }
}

impl PartialOrd for Position {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Position {
    fn cmp(&self, other: &Self) -> Ordering {
        self.sequence().cmp(&other.sequence())
    }
}

/// A position in the ledger of one run of one process of one boot. On the wire
/// `<boot>.<incarnation>.<stdout>.<stderr>.<marks>`, which clients pass back and never read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Cursor {
    /// The supervisor's boot.
    pub boot: String,
    /// Which start of that boot; a process id that is started anew has another.
    pub incarnation: u64,
    /// How far into that ledger.
    pub position: Position,
}

impl Cursor {
    /// Reads what [`fmt::Display`] writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let boot = parts.next().filter(|boot| {
            matches!(boot.len(), 1..=64) && boot.bytes().all(|byte| byte.is_ascii_alphanumeric())
        })?;
        let mut number = || {
            let digits = parts.next()?;
            let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
            // A ledger of 2^60 is out of reach; the bound keeps sums from overflowing.
            plain.then(|| digits.parse().ok())?.filter(|n| *n < 1 << 60)
        };
        let cursor = Self {
            boot: boot.to_owned(),
            incarnation: number()?,
            position: Position {
                stdout: number()?,
                stderr: number()?,
                marks: number()?,
            },
        };
        parts.next().is_none().then_some(cursor)
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Position {
            stdout,
            stderr,
            marks,
        } = self.position;
        write!(
            f,
            "{}.{}.{stdout}.{stderr}.{marks}",
            self.boot, self.incarnation
        )
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Cursor, Position};

    proptest! {
        #[test]
        fn a_cursor_is_read_back(boot in "[a-z0-9]{1,32}", incarnation in 0_u64..1 << 60, stdout in 0_u64..1 << 60, stderr in 0_u64..1 << 60, marks in 0_u64..1 << 60) {
            let cursor = Cursor { boot, incarnation, position: Position { stdout, stderr, marks } };
            prop_assert_eq!(Cursor::parse(&cursor.to_string()), Some(cursor));
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in ".{0,80}") {
            if let Some(cursor) = Cursor::parse(&text) {
                let _ = cursor.position.sequence();
            }
        }
    }

    #[test]
    fn a_mangled_cursor_is_refused() {
        for bad in [
            "",
            "b",
            "b.1.2.3",
            "b.1.2.3.4.5",
            "b.1.-2.3.4",
            "b.1.+2.3.4",
            ".1.2.3.4",
            "b/.1.2.3.4",
        ] {
            assert_eq!(Cursor::parse(bad), None, "{bad}");
        }
    }
}
