//! The bytes of an archive as they are read: how many, and whether its end mark was among them.

use std::io::{self, Read};

/// A tar archive ends with blocks of zeros; the reader takes a missing one for an end as well.
const BLOCK_BYTES: u64 = 512;

/// A reader that watches what passes.
pub(super) struct Tape<R> {
    source: R,
    read: u64,
    zeros: u64,
}

impl<R: Read> Tape<R> {
    pub(super) const fn new(source: R) -> Self {
        Self {
            source,
            read: 0,
            zeros: 0,
        }
    }

    /// Whether nothing came at all.
    pub(super) const fn is_empty(&self) -> bool {
        self.read == 0
    }

    /// Whether the last that was read was an end mark: without one, members may be missing.
    pub(super) const fn has_ended(&self) -> bool {
        self.zeros >= BLOCK_BYTES
    }
}

impl<R: Read> Read for Tape<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.source.read(buffer)?;
        let last = buffer[..length].iter().rposition(|byte| *byte != 0);
        self.read += length as u64;
        self.zeros = match last {
            None => self.zeros + length as u64,
            Some(last) => (length - 1 - last) as u64,
        };
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::Tape;

    #[test]
    fn an_end_is_a_block_of_zeros_and_nothing_after_it() {
        let ended = |bytes: &[u8]| {
            let mut tape = Tape::new(bytes);
            let mut one = [0; 100];
            while tape.read(&mut one).unwrap() > 0 {}
            tape.has_ended()
        };
        let zeros = [0; 512];
        assert!(ended(&zeros));
        assert!(ended(&[&b"x"[..], &zeros].concat()));
        assert!(!ended(&[&zeros[..], b"x"].concat()));
        assert!(!ended(&zeros[1..]));
    }
}
