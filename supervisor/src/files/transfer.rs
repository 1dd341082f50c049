//! Bytes between a connection and a thread: a bounded channel each way, so that memory stays flat.

use std::io::{self, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, HttpBody};
use bytes::{Buf, Bytes, BytesMut};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::sync::mpsc;

use crate::error::Error;
use crate::rights::Rights;

/// How many pieces may be on their way.
const PIECES: usize = 8;

/// How large a piece is made, in bytes.
const PIECE_BYTES: usize = 64 << 10;

/// A piece of a body; without `End` the body broke.
enum Piece {
    Data(Bytes),
    End,
}

/// A request's body, for a thread to read. A body that breaks is an error, never an end.
#[derive(Debug)]
pub(crate) struct Upload {
    pieces: mpsc::Receiver<Piece>,
    rest: Bytes,
    ended: bool,
}

impl std::fmt::Debug for Piece {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Data(bytes) => write!(f, "Data({})", bytes.len()),
            Self::End => f.write_str("End"),
        }
    }
}

/// Splits `body` into a task that reads the connection and the [`Upload`] that it fills.
pub(super) fn upload(body: Body) -> (impl Future<Output = Result<(), Error>>, Upload) {
    let (sender, pieces) = mpsc::channel(PIECES);
    let upload = Upload {
        pieces,
        rest: Bytes::new(),
        ended: false,
    };
    (feed(body, sender), upload)
}

/// Ends early where the work does; whoever waits for the answer drains the rest.
async fn feed(mut body: Body, pieces: mpsc::Sender<Piece>) -> Result<(), Error> {
    loop {
        let frame = tokio::select! {
            biased;
            frame = body.frame() => frame,
            () = pieces.closed() => return Ok(()),
        };
        let Some(frame) = frame else { break };
        let frame = frame.map_err(|error| Error::BodyBroken {
            detail: error.to_string(),
        })?;
        if let Ok(data) = frame.into_data()
            && pieces.send(Piece::Data(data)).await.is_err()
        {
            return Ok(());
        }
    }
    // A reader that stopped before the end has its reasons, and says them.
    let _ = pieces.send(Piece::End).await;
    Ok(())
}

impl Read for Upload {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() && !self.ended {
            match self.pieces.blocking_recv() {
                Some(Piece::Data(data)) => self.rest = data,
                Some(Piece::End) => self.ended = true,
                None => return Err(io::ErrorKind::ConnectionAborted.into()),
            }
        }
        let length = buffer.len().min(self.rest.len());
        self.rest.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}

/// Where a thread writes a response's body. A client that left is an error, so that the work ends.
#[derive(Debug)]
pub(crate) struct Download {
    pieces: mpsc::Sender<Result<Bytes, Error>>,
    buffer: BytesMut,
}

/// Starts `work` on a thread with `rights` and returns the body that it writes, `length` bytes if known. An
/// error cuts the body off, so that it does not pass for a whole one.
pub(super) async fn download(
    rights: &Rights,
    length: Option<u64>,
    work: impl FnOnce(&mut Download) -> Result<(), Error> + Send + 'static,
) -> Result<Body, Error> {
    let (sender, pieces) = mpsc::channel(PIECES);
    rights
        .start(move |rights| {
            let mut out = Download {
                pieces: sender,
                buffer: BytesMut::with_capacity(PIECE_BYTES),
            };
            let done = rights
                .and_then(|()| work(&mut out))
                .and_then(|()| out.flush().map_err(Error::internal("send a body")));
            out.close(done);
        })
        .await?;
    Ok(Body::new(Pieces {
        pieces,
        left: length,
    }))
}

impl Download {
    fn close(self, done: Result<(), Error>) {
        if let Err(error) = done
            && !self.pieces.is_closed()
        {
            eprintln!("supervisor: a body is cut off: {error}");
            // The reader may leave at this very moment; then it is cut off as well.
            let _ = self.pieces.blocking_send(Err(error));
        }
    }
}

impl Write for Download {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = bytes.len().min(PIECE_BYTES - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..length]);
        if self.buffer.len() == PIECE_BYTES {
            self.flush()?;
        }
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let fresh = BytesMut::with_capacity(PIECE_BYTES);
        let full = std::mem::replace(&mut self.buffer, fresh).freeze();
        let sent = self.pieces.blocking_send(Ok(full));
        sent.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// The body that a [`Download`] fills.
struct Pieces {
    pieces: mpsc::Receiver<Result<Bytes, Error>>,
    left: Option<u64>,
}

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let piece = std::task::ready!(self.pieces.poll_recv(context));
        if let (Some(Ok(bytes)), Some(left)) = (&piece, &mut self.left) {
            *left = left.saturating_sub(bytes.len() as u64);
        }
        Poll::Ready(piece.map(|piece| piece.map(Frame::data)))
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map(SizeHint::with_exact).unwrap_or_default()
    }
}
