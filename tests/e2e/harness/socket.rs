//! A WebSocket client.

use super::within;
use futures::{SinkExt, StreamExt};
use hyper::Request;
use serde_json::Value;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

/// The first call to a sandbox may wait for its container.
const OPENS_WITHIN: Duration = Duration::from_mins(2);
const MESSAGE_WITHIN: Duration = Duration::from_secs(30);

/// An open WebSocket. Dropping it hangs up.
pub(crate) struct Socket(WebSocketStream<TcpStream>);

impl Socket {
    /// Opens `path`; the status of a refusal.
    pub(super) async fn open(server: SocketAddr, path: &str) -> Result<Self, u16> {
        let stream = TcpStream::connect(server)
            .await
            .expect("the server listens");
        let request = Request::builder()
            .uri(format!("ws://localhost:{}{path}", server.port()))
            .header("Host", format!("localhost:{}", server.port()))
            .header("Connection", "Upgrade")
            .header("Upgrade", "websocket")
            .header("Sec-WebSocket-Version", "13")
            .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
            .body(())
            .expect("a request");
        let opened = within(OPENS_WITHIN, path, client_async(request, stream)).await;
        match opened {
            Ok((socket, _)) => Ok(Self(socket)),
            Err(Error::Http(answer)) => Err(answer.status().as_u16()),
            Err(error) => panic!("{path}: {error}"),
        }
    }

    /// Sends a message.
    pub(crate) async fn send(&mut self, message: Message) {
        self.0.send(message).await.expect("the socket is open");
    }

    /// Types into a terminal.
    pub(crate) async fn send_bytes(&mut self, bytes: &str) {
        self.send(Message::binary(bytes.to_owned())).await;
    }

    /// The next message that is not the protocol's own; nothing when the socket is closed.
    pub(crate) async fn next(&mut self) -> Option<Message> {
        loop {
            let message = within(MESSAGE_WITHIN, "a message", self.0.next()).await?;
            match message.ok()? {
                Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
                Message::Close(_) => return None,
                message => return Some(message),
            }
        }
    }

    /// Reads until the binary messages contain `text`; all of them so far.
    pub(crate) async fn until(&mut self, text: &str) -> String {
        let mut read = String::new();
        while !read.contains(text) {
            match self.next().await {
                Some(Message::Binary(bytes)) => read += &String::from_utf8_lossy(&bytes),
                other => panic!("{other:?} before {text:?}; so far {read:?}"),
            }
        }
        read
    }

    /// Reads on until a text message, which is JSON, and what the binary ones before it say.
    pub(crate) async fn event(&mut self) -> (String, Value) {
        let mut read = String::new();
        loop {
            match self.next().await {
                Some(Message::Binary(bytes)) => read += &String::from_utf8_lossy(&bytes),
                Some(Message::Text(text)) => {
                    return (read, serde_json::from_str(&text).expect("JSON"));
                }
                other => panic!("{other:?} before an event; so far {read:?}"),
            }
        }
    }
}
