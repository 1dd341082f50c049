//! The one buffer of a body: filled, written out, filled again.

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use tokio::sync::Notify;

/// A buffer that makes one frame at a time. The server takes as many frames of a body as it gets before it
/// waits for the client; so that a slow client costs one of them, the next is made when the last is written.
#[derive(Debug)]
pub(super) struct Buffer(Arc<Slot>);

/// Where the buffer is while it is not out as a frame.
#[derive(Debug)]
struct Slot {
    buffer: Mutex<Option<Vec<u8>>>,
    back: Notify,
}

impl Buffer {
    /// A buffer without room.
    pub(super) fn new() -> Self {
        Self(Arc::new(Slot {
            buffer: Mutex::new(Some(Vec::new())),
            back: Notify::new(),
        }))
    }

    /// The empty buffer, as soon as the frame made of it last is dropped.
    pub(super) async fn take(&self) -> Vec<u8> {
        loop {
            if let Some(buffer) = self.0.buffer().take() {
                return buffer;
            }
            self.0.back.notified().await;
        }
    }

    /// What was taken as a frame, that gives it back when it is dropped.
    pub(super) fn frame(&self, filled: Vec<u8>) -> Bytes {
        Bytes::from_owner(Frame {
            filled,
            slot: Arc::clone(&self.0),
        })
    }
}

impl Slot {
    fn buffer(&self) -> MutexGuard<'_, Option<Vec<u8>>> {
        self.buffer
            .lock()
            .expect("no code panics while it holds this lock")
    }
}

/// A buffer on its way to the client.
struct Frame {
    filled: Vec<u8>,
    slot: Arc<Slot>,
}

impl AsRef<[u8]> for Frame {
    fn as_ref(&self) -> &[u8] {
        &self.filled
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        let mut buffer = mem::take(&mut self.filled);
        buffer.clear();
        *self.slot.buffer() = Some(buffer);
        self.slot.back.notify_one();
    }
}
