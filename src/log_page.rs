//! Entries of a kept log in the form that was asked for: SSE, NDJSON or plain.

use sandbox_protocol::cursor::{Cursor, Position};
use sandbox_protocol::kept::{Entry, Kind};
use sandbox_protocol::log::{Format, LogEvent, LogRequest, Output};
use sandbox_protocol::sse;

use crate::platform::now;

/// Entries in the form that was asked for.
pub(crate) struct Page<'a> {
    build: &'a str,
    request: &'a LogRequest,
    /// Of the log; its position moves.
    cursor: Cursor,
    /// What is to be written to the client.
    pub(crate) out: Vec<u8>,
    /// Whether the next plain byte begins a line.
    line_start: bool,
}

impl<'a> Page<'a> {
    /// An empty page of the log of `build`, whose first entry begins at `from`.
    pub(crate) fn new(build: &'a str, request: &'a LogRequest, from: &Cursor) -> Self {
        Self {
            build,
            request,
            cursor: from.clone(),
            out: Vec::new(),
            line_start: true,
        }
    }

    /// Tells how much is missing between two positions.
    pub(crate) fn gap(&mut self, from: Position, to: Position) {
        let bytes = from.bytes_until(to, self.request.stream);
        if bytes > 0 {
            let event = LogEvent::truncated(bytes, self.build, now());
            self.event(&event, to);
        }
    }

    /// Adds an entry that lies before `end`.
    pub(crate) fn entry(&mut self, entry: &Entry<'_>, end: Position) {
        match entry.kind {
            Kind::Output(stream) if !self.request.stream.has(stream) => {}
            Kind::Output(_) if self.request.format == Format::Plain => {
                self.plain(entry);
            }
            Kind::Output(stream) => {
                let output = Output::new(entry.bytes, self.build, entry.at);
                self.event(&LogEvent::output(stream, output), end);
            }
            // A mark is kept as the JSON of its event.
            Kind::Mark => {
                if let Ok(event) = serde_json::from_slice::<LogEvent<'_>>(entry.bytes) {
                    self.event(&event, end);
                }
            }
        }
    }

    fn plain(&mut self, entry: &Entry<'_>) {
        for line in entry.bytes.split_inclusive(|byte| *byte == b'\n') {
            if self.request.timestamps && self.line_start {
                self.out.extend(format!("{} ", entry.at).as_bytes());
            }
            self.out.extend(line);
            self.line_start = line.ends_with(b"\n");
        }
    }

    fn event(&mut self, event: &LogEvent<'_>, end: Position) {
        self.cursor.position = end;
        write_event(&mut self.out, self.request.format, event, &self.cursor);
    }
}

/// Appends `event` with its cursor, as a frame of SSE or a line of NDJSON; plain text has no events.
pub(crate) fn write_event(
    out: &mut Vec<u8>,
    format: Format,
    event: &LogEvent<'_>,
    cursor: &Cursor,
) {
    let written = match format {
        Format::EventStream => sse::write_frame(out, cursor, |out| {
            serde_json::to_writer(out, event).map_err(std::io::Error::from)
        }),
        Format::Ndjson => ndjson(out, event, cursor),
        Format::Plain | Format::Json => Ok(()),
    };
    // Memory takes every byte, and every event of ours has a JSON form.
    debug_assert!(written.is_ok(), "an event is written to memory");
}

fn ndjson(out: &mut Vec<u8>, event: &LogEvent<'_>, cursor: &Cursor) -> std::io::Result<()> {
    serde_json::to_writer(&mut *out, event)?;
    // The events of SSE, one a line; what SSE has in `id` goes in as one more field.
    out.pop();
    out.extend(format!(r#","cursor":"{cursor}"}}"#).as_bytes());
    out.push(b'\n');
    Ok(())
}
