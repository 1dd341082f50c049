//! One request passed on to a sandbox's supervisor, and its answer passed back, as they come.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::Response;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use sandbox_protocol::error::{ErrorBody, ErrorCode};
use tokio::io::copy_bidirectional;
use tokio::net::UnixStream;
use tokio::task::AbortHandle;

use crate::error::Error;

/// Headers that are about one connection and mean nothing on the next.
const OF_A_HOP: [header::HeaderName; 4] = [
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::TE,
    header::UPGRADE,
];

/// Sends `request`, as if it were for `uri`, to whoever is at the other end of `stream`.
pub(super) async fn forward(
    stream: UnixStream,
    mut request: Request,
    uri: Uri,
) -> Result<Response, Error> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| no_answer(&error))?;
    let connection = tokio::spawn(connection.with_upgrades());
    let line = Line(connection.abort_handle());
    *request.uri_mut() = uri;
    let upgrade = request.headers().contains_key(header::UPGRADE);
    let client = upgrade.then(|| hyper::upgrade::on(&mut request));
    if client.is_none() {
        remove_hop(request.headers_mut());
    }
    let answer = sender.send_request(request).await;
    let mut answer = answer.map_err(|error| no_answer(&error))?;
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        if let Some(client) = client {
            tokio::spawn(splice(client, hyper::upgrade::on(&mut answer), line));
        }
        return Ok(answer.map(|_| Body::empty()));
    }
    remove_hop(answer.headers_mut());
    Ok(answer.map(|body| Body::new(Answer { body, _line: line })))
}

fn remove_hop(headers: &mut HeaderMap) {
    for name in OF_A_HOP {
        headers.remove(name);
    }
}

/// Both sides have left HTTP: carries bytes until both have said all.
async fn splice(client: OnUpgrade, supervisor: OnUpgrade, line: Line) {
    let (client, supervisor) = match tokio::try_join!(client, supervisor) {
        Ok(both) => both,
        Err(error) => return eprintln!("engine: an upgrade did not happen: {error}"),
    };
    let (mut client, mut supervisor) = (TokioIo::new(client), TokioIo::new(supervisor));
    // A side that breaks off ends the other one, which then knows as much as we do.
    let _ = copy_bidirectional(&mut client, &mut supervisor).await;
    drop(line);
}

fn no_answer(error: &hyper::Error) -> Error {
    eprintln!("engine: a supervisor did not answer: {error}");
    ErrorBody::new(ErrorCode::ServiceNotResponding, "not listening").into()
}

/// A connection to a supervisor; dropping it ends it, so that a client that goes away is noticed there.
struct Line(AbortHandle);

impl Drop for Line {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// An answer's body, with the connection that it comes by.
struct Answer {
    body: Incoming,
    _line: Line,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
