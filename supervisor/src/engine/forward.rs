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

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::{Arc, Mutex};

    use axum::Router;
    use axum::extract::Request;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream, UnixStream};

    use super::forward;

    /// An engine with one sandbox, whose supervisor's end of the connection is in the test's hands.
    async fn engine() -> (SocketAddr, UnixStream) {
        let (ours, supervisor) = UnixStream::pair().unwrap();
        let ours = Arc::new(Mutex::new(Some(ours)));
        let app = Router::new().fallback(move |request: Request| {
            let ours = ours.lock().unwrap().take().unwrap();
            async move { forward(ours, request, "/inner?q".parse().unwrap()).await }
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, app).await });
        (address, supervisor)
    }

    /// Reads until `end` has come.
    async fn read_to(stream: &mut (impl AsyncReadExt + Unpin), end: &str) -> String {
        let mut read = String::new();
        while !read.ends_with(end) {
            read.push(char::from(stream.read_u8().await.unwrap()));
        }
        read
    }

    #[tokio::test]
    async fn a_client_that_goes_away_is_noticed_by_the_supervisor() {
        let (address, mut supervisor) = engine().await;
        let mut client = TcpStream::connect(address).await.unwrap();
        client
            .write_all(b"GET /x HTTP/1.1\r\nhost: a\r\n\r\n")
            .await
            .unwrap();
        let head = read_to(&mut supervisor, "\r\n\r\n").await;
        assert!(head.starts_with("GET /inner?q HTTP/1.1\r\n"), "{head}");
        let answer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n";
        supervisor.write_all(answer).await.unwrap();
        // The first piece is there although the answer is not at its end.
        read_to(&mut client, "hi\r\n").await;
        drop(client);
        assert_eq!(supervisor.read(&mut [0]).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_client_that_goes_away_before_the_answer_is_noticed_too() {
        let (address, mut supervisor) = engine().await;
        let mut client = TcpStream::connect(address).await.unwrap();
        client
            .write_all(b"GET /x HTTP/1.1\r\nhost: a\r\n\r\n")
            .await
            .unwrap();
        read_to(&mut supervisor, "\r\n\r\n").await;
        drop(client);
        assert_eq!(supervisor.read(&mut [0]).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn an_upgraded_connection_carries_bytes_both_ways() {
        let (address, mut supervisor) = engine().await;
        let mut client = TcpStream::connect(address).await.unwrap();
        let request = b"GET /x HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";
        client.write_all(request).await.unwrap();
        let head = read_to(&mut supervisor, "\r\n\r\n").await;
        assert!(head.contains("upgrade: echo\r\n"), "{head}");
        let answer = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\nhello";
        supervisor.write_all(answer).await.unwrap();
        let head = read_to(&mut client, "hello").await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        client.write_all(b"ping").await.unwrap();
        read_to(&mut supervisor, "ping").await;
        supervisor.write_all(b"pong").await.unwrap();
        read_to(&mut client, "pong").await;
        drop(client);
        assert_eq!(supervisor.read(&mut [0]).await.unwrap(), 0);
    }
}
