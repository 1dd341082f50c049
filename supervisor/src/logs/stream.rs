//! A log as a body: large frames where there is much, one event at once where there is little.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::unfold;
use sandbox_protocol::sse::HEARTBEAT;

use super::encode::Encoder;
use super::follower::Follower;
use super::frame::Buffer;
use super::now;
use super::reader::{Reader, Step};

pub use super::encode::Form;

/// From how many bytes on a frame of the body is sent, though there is more to put into it.
const FRAME_BYTES: usize = 128 << 10;

/// What `reader` reads, in `form`. With a `follower` it goes on until the ledger ends, and sends a comment
/// when `heartbeat` passes without an event; else it ends where the reader has read all that there is.
///
/// A frame is made when the body is asked for it and the one before is dropped, which is when it was written.
/// So a slow client holds up nobody, and costs one frame and a position. Whoever collects frames waits for ever.
pub fn stream(
    reader: Reader,
    form: Form,
    follower: Option<Follower>,
    heartbeat: Duration,
) -> impl futures_util::Stream<Item = Result<Bytes, Infallible>> + Send {
    let events = Events {
        encoder: Encoder::new(form, reader.ledger()),
        reader,
        buffer: Buffer::new(),
        follower,
        heartbeat: heartbeat_of(form).map(|sign| (heartbeat, sign)),
    };
    unfold(events, async |mut events| {
        let frame = events.next().await?;
        Some((Ok(frame), events))
    })
}

struct Events {
    reader: Reader,
    encoder: Encoder,
    buffer: Buffer,
    follower: Option<Follower>,
    /// How long the body may be quiet, and what is sent then.
    heartbeat: Option<(Duration, &'static [u8])>,
}

/// What means nothing in `form`: a comment, or an empty line. Plain text has no such thing.
const fn heartbeat_of(form: Form) -> Option<&'static [u8]> {
    match form {
        Form::EventStream => Some(HEARTBEAT),
        Form::Ndjson => Some(b"\n"),
        Form::Plain { .. } => None,
    }
}

impl Events {
    async fn next(&mut self) -> Option<Bytes> {
        let mut out = self.buffer.take().await;
        while out.len() < FRAME_BYTES {
            // What is not selected makes no frame, and must not keep the thread from its other tasks.
            tokio::task::consume_budget().await;
            match self.reader.step().await {
                Step::Gap(bytes) => {
                    let at = self.reader.cursor().position;
                    self.encoder.gap(&mut out, bytes, at, now());
                }
                Step::Entries(batch) => {
                    for entry in batch.entries() {
                        self.encoder.entry(&mut out, &entry);
                    }
                }
                Step::Idle if out.is_empty() && self.follower.is_some() => {
                    // A quiet follower keeps no room for frames; there may be a thousand of them.
                    out = Vec::new();
                    if let Some(sign) = self.more().await {
                        out.extend_from_slice(sign);
                        break;
                    }
                }
                Step::Idle | Step::Ended => break,
            }
        }
        (!out.is_empty()).then(|| self.buffer.frame(out))
    }

    /// Waits for more; or what to send meanwhile, when that takes long.
    async fn more(&self) -> Option<&'static [u8]> {
        let more = self.reader.more();
        let Some((heartbeat, sign)) = self.heartbeat else {
            more.await;
            return None;
        };
        let waited = tokio::time::timeout(heartbeat, more).await;
        waited.is_err().then_some(sign)
    }
}
