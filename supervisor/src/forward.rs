//! One request passed on to another server, and its answer passed back, as they come: upgrades included.

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::Response;
use hyper::client::conn::http1;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use sandbox_protocol::error::{ErrorBody, ErrorCode};
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};
use tokio::task::AbortHandle;

use crate::activity::Open;
use crate::error::Error;
use crate::held::Held;

/// Headers that are about one connection and mean nothing on the next, besides those that `Connection` names.
const OF_A_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    header::EXPECT,
    HeaderName::from_static("keep-alive"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Sends `request`, as if it were for `uri`, to whoever is at the other end of `stream`. `SERVICE_NOT_RESPONDING`
/// if that is no HTTP server, or ends before it has answered.
pub(crate) async fn forward(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    mut request: Request,
    uri: Uri,
) -> Result<Response, Error> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| no_answer(&error))?;
    let connection = tokio::spawn(connection.with_upgrades());
    let line = Line(connection.abort_handle());
    *request.uri_mut() = uri;
    // An upgraded connection is a call that has not ended.
    let open = request.extensions().get::<Open>().cloned();
    let upgrade = request.headers().get(header::UPGRADE).cloned();
    let client = upgrade.is_some().then(|| hyper::upgrade::on(&mut request));
    remove_hop(request.headers_mut());
    if let Some(protocol) = upgrade {
        switch_to(request.headers_mut(), protocol);
    }
    let answer = sender.send_request(request).await;
    let mut answer = answer.map_err(|error| no_answer(&error))?;
    let protocol = answer.headers().get(header::UPGRADE).cloned();
    remove_hop(answer.headers_mut());
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        if let (Some(client), Some(protocol)) = (client, protocol) {
            switch_to(answer.headers_mut(), protocol);
            let server = hyper::upgrade::on(&mut answer);
            tokio::spawn(async move {
                splice(client, server, line).await;
                drop(open);
            });
        }
        return Ok(answer.map(|_| Body::empty()));
    }
    Ok(answer.map(|body| Body::new(Held::new(body, line))))
}

fn remove_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.into_iter().chain(OF_A_HOP) {
        headers.remove(name);
    }
}

/// Asks for `protocol`, or agrees to it.
fn switch_to(headers: &mut HeaderMap, protocol: HeaderValue) {
    headers.insert(header::UPGRADE, protocol);
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
}

/// Both sides have left HTTP: carries bytes until both have said all.
async fn splice(client: OnUpgrade, server: OnUpgrade, line: Line) {
    let (client, server) = match tokio::try_join!(client, server) {
        Ok(both) => both,
        Err(error) => return eprintln!("forward: an upgrade did not happen: {error}"),
    };
    let (mut client, mut server) = (TokioIo::new(client), TokioIo::new(server));
    // A side that breaks off ends the other one, which then knows as much as we do.
    let _ = copy_bidirectional(&mut client, &mut server).await;
    drop(line);
}

fn no_answer(error: &hyper::Error) -> Error {
    eprintln!("forward: no answer: {error}");
    ErrorBody::new(
        ErrorCode::ServiceNotResponding,
        "took the connection and did not answer",
    )
    .into()
}

/// A connection to a server; dropping it ends it, so that a client that goes away is noticed there.
struct Line(AbortHandle);

impl Drop for Line {
    fn drop(&mut self) {
        self.0.abort();
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
