//! Entries as they go over the wire: server-sent events, one JSON a line, or the bytes themselves.

use std::fmt::Write;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sandbox_protocol::cursor::Position;
use sandbox_protocol::kept::Kind;
use sandbox_protocol::log::{LogEvent, Stream};
use sandbox_protocol::time::Timestamp;

use super::Ledger;
use super::batch::Entry;
use super::escape::escape;

/// The form of a streamed answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Server-sent events, each with its cursor as `id`.
    EventStream,
    /// The same events, one a line, each with its `cursor`.
    Ndjson,
    /// The bytes of the selected streams; with `timestamps`, each line begins with the time of its first byte.
    Plain {
        /// Whether lines begin with their time.
        timestamps: bool,
    },
}

/// Writes the entries of one ledger in one form.
#[derive(Debug)]
pub(super) struct Encoder {
    form: Form,
    process_id: String,
    /// What every cursor of this ledger begins with.
    cursor: String,
    /// The last time that was written, and its text.
    stamp: (Timestamp, String),
    /// Whether the next byte of plain text begins a line.
    at_line_start: bool,
}

impl Encoder {
    pub(super) fn new(form: Form, ledger: &Ledger) -> Self {
        Self {
            form,
            process_id: ledger.process_id().to_owned(),
            cursor: ledger.cursor_prefix(),
            stamp: (Timestamp(0), Timestamp(0).to_string()),
            at_line_start: true,
        }
    }

    /// Appends `entry` to `out`.
    pub(super) fn entry(&mut self, out: &mut Vec<u8>, entry: &Entry<'_>) {
        match (self.form, entry.kind) {
            (Form::Plain { .. }, Kind::Mark) => {}
            (Form::Plain { timestamps: false }, Kind::Output(_)) => {
                out.extend_from_slice(entry.bytes);
            }
            (Form::Plain { timestamps: true }, Kind::Output(_)) => self.stamped(out, entry),
            (_, Kind::Mark) => {
                // The closing brace comes with the end of the event.
                let open = entry.bytes.strip_suffix(b"}").unwrap_or(entry.bytes);
                self.begin(out, entry.after);
                out.extend_from_slice(open);
                self.end(out, entry.after);
            }
            (_, Kind::Output(stream)) => {
                self.begin(out, entry.after);
                self.output(out, stream, entry);
                self.end(out, entry.after);
            }
        }
    }

    /// Appends the event of a gap of `bytes` before `at`, noticed at `now`. Plain text has no place for it.
    pub(super) fn gap(&mut self, out: &mut Vec<u8>, bytes: u64, at: Position, now: Timestamp) {
        if matches!(self.form, Form::Plain { .. }) {
            return;
        }
        let event = LogEvent::truncated(bytes, &self.process_id, now);
        let json = json(&event);
        self.begin(out, at);
        out.extend_from_slice(json.strip_suffix(b"}").unwrap_or(&json));
        self.end(out, at);
    }

    fn begin(&self, out: &mut Vec<u8>, after: Position) {
        if self.form == Form::EventStream {
            out.extend_from_slice(b"id: ");
            self.put_cursor(out, after);
            out.extend_from_slice(b"\ndata: ");
        }
    }

    /// The end of an event whose last brace is still to come.
    fn end(&self, out: &mut Vec<u8>, after: Position) {
        if self.form == Form::EventStream {
            out.extend_from_slice(b"}\n\n");
        } else {
            out.extend_from_slice(b",\"cursor\":\"");
            self.put_cursor(out, after);
            out.extend_from_slice(b"\"}\n");
        }
    }

    fn output(&mut self, out: &mut Vec<u8>, stream: Stream, entry: &Entry<'_>) {
        out.extend_from_slice(match stream {
            Stream::Stdout => b"{\"type\":\"stdout\",\"data\":\"",
            Stream::Stderr => b"{\"type\":\"stderr\",\"data\":\"",
        });
        if let Ok(text) = std::str::from_utf8(entry.bytes) {
            escape(out, text);
            out.extend_from_slice(b"\",\"processId\":\"");
        } else {
            put_base64(out, entry.bytes);
            out.extend_from_slice(b"\",\"encoding\":\"base64\",\"processId\":\"");
        }
        // A process id is letters, digits, `_` and `-`; nothing in it needs an escape.
        out.extend_from_slice(self.process_id.as_bytes());
        out.extend_from_slice(b"\",\"timestamp\":\"");
        self.put_time(out, entry.at);
        out.extend_from_slice(b"\"");
    }

    fn stamped(&mut self, out: &mut Vec<u8>, entry: &Entry<'_>) {
        for line in entry.bytes.split_inclusive(|byte| *byte == b'\n') {
            if self.at_line_start {
                self.put_time(out, entry.at);
                out.push(b' ');
            }
            out.extend_from_slice(line);
            self.at_line_start = line.ends_with(b"\n");
        }
    }

    fn put_time(&mut self, out: &mut Vec<u8>, at: Timestamp) {
        if self.stamp.0 != at {
            self.stamp.1.clear();
            write!(self.stamp.1, "{at}").expect("a string takes everything");
            self.stamp.0 = at;
        }
        out.extend_from_slice(self.stamp.1.as_bytes());
    }

    fn put_cursor(&self, out: &mut Vec<u8>, position: Position) {
        let mut digits = itoa::Buffer::new();
        out.extend_from_slice(self.cursor.as_bytes());
        for (number, after) in [
            (position.stdout, &b"."[..]),
            (position.stderr, b"."),
            (position.marks, b""),
        ] {
            out.extend_from_slice(digits.format(number).as_bytes());
            out.extend_from_slice(after);
        }
    }
}

/// The JSON of an event.
pub(super) fn json(event: &LogEvent<'_>) -> Vec<u8> {
    serde_json::to_vec(event).expect("an event is plain data")
}

fn put_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    let begin = out.len();
    let len = base64::encoded_len(bytes.len(), true).expect("a chunk is small");
    out.resize(begin + len, 0);
    STANDARD
        .encode_slice(bytes, &mut out[begin..])
        .expect("the room was computed for it");
}
