//! What a refused request still sends: it is read to its end before the answer goes out. A connection that is
//! closed on unread bytes is reset, and its other end may never get to read why.

use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::header;
use axum::middleware::Next;
use axum::response::Response;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use sandbox_protocol::request::{MAX_DRAIN_MS, MAX_DRAIN_PAUSE_MS, MAX_DRAINED_BYTES};
use tokio::sync::oneshot;
use tokio::time::timeout;

/// Lets `next` answer, then, if that is a refusal, reads what it left of the body, up to [`MAX_DRAINED_BYTES`] and [`MAX_DRAIN_MS`]. A
/// body that is still being read when the answer begins is the reader's own affair.
pub(crate) async fn drain(request: Request, next: Next) -> Response {
    if request.body().is_end_stream() {
        return next.run(request).await;
    }
    let asks_first = request.headers().contains_key(header::EXPECT);
    let (back, mut rest) = oneshot::channel();
    let response = next
        .run(request.map(|body| {
            Body::new(Lent {
                body,
                begun: !asks_first,
                back: Some(back),
            })
        }))
        .await;
    let refused = response.status().is_client_error() || response.status().is_server_error();
    if refused && let Ok(body) = rest.try_recv() {
        // Overdue or not, there is an answer.
        let _ = timeout(Duration::from_millis(MAX_DRAIN_MS), drop_rest(body)).await;
    }
    response
}

async fn drop_rest(mut body: Body) {
    let pause = Duration::from_millis(MAX_DRAIN_PAUSE_MS);
    let mut length = 0;
    // A client that breaks off does not wait for the answer.
    while let Ok(Some(Ok(frame))) = timeout(pause, body.frame()).await {
        length += frame.data_ref().map_or(0, |bytes| bytes.len() as u64);
        if length > MAX_DRAINED_BYTES {
            return;
        }
    }
}

/// A body that comes back if it is dropped before its end.
struct Lent {
    body: Body,
    /// Whether its sender has been told to send it, or does not wait to be told.
    begun: bool,
    /// Nothing once its end has been read.
    back: Option<oneshot::Sender<Body>>,
}

impl HttpBody for Lent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.begun = true;
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if !matches!(frame, Some(Ok(_))) {
            self.back = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(back) = self.back.take().filter(|_| self.begun) {
            // Whoever lent it may be gone: then nobody waits for the answer.
            let _ = back.send(mem::take(&mut self.body));
        }
    }
}
