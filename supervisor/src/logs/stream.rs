//! A log as a body: large frames where there is much, one event at once where there is little.

use std::convert::Infallible;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::stream::unfold;
use sandbox_protocol::sse::HEARTBEAT;

use super::encode::Encoder;
use super::reader::{Reader, Step};
use super::{Follower, now};

pub use super::encode::Form;

/// From how many bytes on a frame of the body is sent, though there is more to put into it.
const FRAME_BYTES: usize = 128 << 10;

/// What `reader` reads, in `form`. With a `follower` it goes on until the ledger ends, and sends a comment
/// when `heartbeat` passes without an event; else it ends where the reader has read all that there is.
///
/// Nothing is read before the body is asked for more, so a slow client holds up nobody and costs a position.
pub fn stream(
    reader: Reader,
    form: Form,
    follower: Option<Follower>,
    heartbeat: Duration,
) -> impl futures_util::Stream<Item = Result<Bytes, Infallible>> + Send {
    let events = Events {
        encoder: Encoder::new(form, reader.ledger()),
        reader,
        buffer: BytesMut::new(),
        follower,
        // Only server-sent events have a comment that is no event.
        heartbeat: (form == Form::EventStream).then_some(heartbeat),
    };
    unfold(events, async |mut events| {
        let frame = events.next().await?;
        Some((Ok(frame), events))
    })
}

struct Events {
    reader: Reader,
    encoder: Encoder,
    buffer: BytesMut,
    follower: Option<Follower>,
    heartbeat: Option<Duration>,
}

impl Events {
    async fn next(&mut self) -> Option<Bytes> {
        while self.buffer.len() < FRAME_BYTES {
            // What is not selected makes no frame, and must not keep the thread from its other tasks.
            tokio::task::consume_budget().await;
            match self.reader.step().await {
                Step::Gap(bytes) => {
                    let at = self.reader.cursor().position;
                    self.encoder.gap(&mut self.buffer, bytes, at, now());
                }
                Step::Entries(batch) => {
                    for entry in batch.entries() {
                        self.encoder.entry(&mut self.buffer, &entry);
                    }
                }
                Step::Idle if self.buffer.is_empty() && self.follower.is_some() => {
                    if let Some(comment) = self.idle().await {
                        return Some(comment);
                    }
                }
                Step::Idle | Step::Ended => break,
            }
        }
        (!self.buffer.is_empty()).then(|| self.buffer.split().freeze())
    }

    /// Waits for more; the comment to send if it takes too long.
    async fn idle(&mut self) -> Option<Bytes> {
        // A quiet follower keeps no buffer; there may be a thousand of them.
        self.buffer = BytesMut::new();
        let more = self.reader.more();
        match self.heartbeat {
            None => {
                more.await;
                None
            }
            Some(heartbeat) => match tokio::time::timeout(heartbeat, more).await {
                Ok(()) => None,
                Err(_) => Some(Bytes::from_static(HEARTBEAT)),
            },
        }
    }
}
