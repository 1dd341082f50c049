//! A log as one JSON object, written while it is read.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::stream::unfold;
use sandbox_protocol::kept::Kind;
use sandbox_protocol::log::{Selection, Stream};

use super::batch::Entry;
use super::escape::escape;
use super::frame::Buffer;
use super::reader::{Reader, Step};

/// From how many bytes on a frame of the body is sent, though there is more to put into it.
const FRAME_BYTES: usize = 128 << 10;

/// The [`sandbox_protocol::log::Logs`] of what `reader` reads up to where the ledger ends now. The ledger is
/// read twice, once for each stream, so that a long log needs no more memory than a short one. Frames are made as
/// in [`super::stream()`].
pub async fn snapshot(
    mut reader: Reader,
) -> impl futures_util::Stream<Item = Result<Bytes, Infallible>> + Send {
    reader.begin().await;
    let reader = reader.until_now();
    let object = Object {
        parts: vec![
            Part::Tail,
            Part::Output(Stream::Stderr),
            Part::Output(Stream::Stdout),
        ],
        whole: reader,
        reading: None,
        truncated: false,
        buffer: Buffer::new(),
    };
    unfold(object, async |mut object| {
        let frame = object.next().await?;
        Some((Ok(frame), object))
    })
}

struct Object {
    /// What is still to be written, the last first.
    parts: Vec<Part>,
    whole: Reader,
    reading: Option<Reader>,
    truncated: bool,
    buffer: Buffer,
}

#[derive(Clone, Copy)]
enum Part {
    Output(Stream),
    Tail,
}

impl Object {
    async fn next(&mut self) -> Option<Bytes> {
        let mut out = self.buffer.take().await;
        while out.len() < FRAME_BYTES {
            if let Some(reader) = &mut self.reading {
                match reader.step().await {
                    Step::Entries(batch) => {
                        for entry in batch.entries() {
                            text(&mut out, &entry);
                        }
                    }
                    Step::Gap(_) => self.truncated = true,
                    Step::Idle | Step::Ended => {
                        self.reading = None;
                        out.extend_from_slice(b"\"");
                    }
                }
                continue;
            }
            let Some(part) = self.parts.pop() else { break };
            self.begin(&mut out, part);
        }
        (!out.is_empty()).then(|| self.buffer.frame(out))
    }

    fn begin(&mut self, out: &mut Vec<u8>, part: Part) {
        let selection = match part {
            Part::Output(Stream::Stdout) => {
                out.extend_from_slice(b"{\"processId\":\"");
                out.extend_from_slice(self.whole.ledger().process_id().as_bytes());
                out.extend_from_slice(b"\",\"stdout\":\"");
                Selection::Stdout
            }
            Part::Output(Stream::Stderr) => {
                out.extend_from_slice(b",\"stderr\":\"");
                Selection::Stderr
            }
            Part::Tail => {
                let end = self.whole.end();
                let tail = format!(",\"cursor\":\"{end}\",\"truncated\":{}}}", self.truncated);
                out.extend_from_slice(tail.as_bytes());
                return;
            }
        };
        let asked = self.whole.selected();
        if asked == Selection::Both || asked == selection {
            self.reading = Some(self.whole.of(selection));
        } else {
            out.extend_from_slice(b"\"");
        }
    }
}

/// The output as text, with U+FFFD for what is none.
fn text(out: &mut Vec<u8>, entry: &Entry<'_>) {
    if !matches!(entry.kind, Kind::Output(_)) {
        return;
    }
    if let Ok(text) = std::str::from_utf8(entry.bytes) {
        return escape(out, text);
    }
    for chunk in entry.bytes.utf8_chunks() {
        escape(out, chunk.valid());
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
}
