//! NDJSON taken apart: chunks in, events out.

use sandbox_protocol::log::LogEvent;
use serde::Deserialize;

use super::Error;

/// One event and the cursor behind it.
#[derive(Debug, PartialEq, Deserialize)]
pub(super) struct Line {
    pub(super) cursor: String,
    #[serde(flatten)]
    pub(super) event: LogEvent<'static>,
}

/// What has come and was not given out.
#[derive(Default)]
pub(super) struct Lines {
    bytes: Vec<u8>,
    /// How much of `bytes` was given out.
    taken: usize,
    /// How far `bytes` is known to have no end of a line.
    searched: usize,
}

impl Lines {
    /// Adds what came.
    pub(super) fn push(&mut self, chunk: &[u8]) {
        self.bytes.drain(..self.taken);
        self.searched -= self.taken;
        self.taken = 0;
        self.bytes.extend_from_slice(chunk);
    }

    /// The next whole line. White space between events is a heartbeat.
    pub(super) fn pop(&mut self) -> Result<Option<Line>, Error> {
        while let Some(length) = self.bytes[self.searched..]
            .iter()
            .position(|byte| *byte == b'\n')
        {
            let end = self.searched + length + 1;
            let line = self.bytes[self.taken..end].trim_ascii();
            (self.taken, self.searched) = (end, end);
            if !line.is_empty() {
                return read(line).map(Some);
            }
        }
        self.searched = self.bytes.len();
        Ok(None)
    }
}

fn read(line: &[u8]) -> Result<Line, Error> {
    serde_json::from_slice(line).map_err(|error| Error::Unexpected {
        status: 200,
        detail: format!("{error}: {}", String::from_utf8_lossy(line)),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sandbox_protocol::log::LogEvent;

    use super::Lines;

    const LOG: &str = "{\"cursor\":\"a.1\",\"type\":\"stdout\",\"data\":\"ü\\n\",\"processId\":\"p\",\"timestamp\":\"2026-11-24T07:25:57.414Z\"}\n\
        \n\
        {\"cursor\":\"a.2\",\"type\":\"stderr\",\"data\":\"é\",\"processId\":\"p\",\"timestamp\":\"2026-11-24T07:25:57.415Z\"}\n";

    proptest! {
        #[test]
        fn events_come_whole_however_their_bytes_are_cut(mut cuts in prop::collection::vec(0..=LOG.len(), 0..8)) {
            cuts.extend([0, LOG.len()]);
            cuts.sort_unstable();
            let (mut lines, mut seen) = (Lines::default(), Vec::new());
            for pair in cuts.windows(2) {
                lines.push(&LOG.as_bytes()[pair[0]..pair[1]]);
                while let Some(line) = lines.pop().unwrap() {
                    let (LogEvent::Stdout(output) | LogEvent::Stderr(output)) = line.event else {
                        panic!("another event");
                    };
                    seen.push((line.cursor, output.data.into_owned()));
                }
            }
            let expected = [("a.1", "ü\n"), ("a.2", "é")].map(|(a, b)| (a.to_owned(), b.to_owned()));
            prop_assert_eq!(seen, expected);
        }
    }

    #[test]
    fn a_line_that_is_no_event_is_told_and_not_skipped() {
        let mut lines = Lines::default();
        lines.push(b"<html>\n");
        let error = lines.pop().unwrap_err();
        assert!(error.to_string().contains("<html>"), "{error}");
    }
}
