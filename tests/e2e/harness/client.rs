//! An HTTP client with one connection a call: it sees each frame as it comes, and hangs up when dropped.

use super::within;
use bytes::Bytes;
use eventsource_stream::{EventStream, Eventsource};
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, TryStreamExt};
use http_body_util::{BodyExt, BodyStream, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{HeaderMap, Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// The first call to a sandbox may wait for its container, and that for a networking sidecar.
const HEADERS_WITHIN: Duration = Duration::from_mins(2);
/// Longer than any heartbeat.
const EVENT_WITHIN: Duration = Duration::from_mins(1);

/// A request that has not been sent.
#[must_use]
pub(crate) struct Call {
    server: SocketAddr,
    request: hyper::http::request::Builder,
    body: Bytes,
}

impl Call {
    pub(super) fn new(server: SocketAddr, method: Method, path: &str) -> Self {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("Host", format!("localhost:{}", server.port()));
        Self {
            server,
            request,
            body: Bytes::new(),
        }
    }

    /// Adds a header.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.header(name, value);
        self
    }

    /// Sends `value` as `application/json`.
    pub(crate) fn json(self, value: &Value) -> Self {
        self.header("Content-Type", "application/json")
            .body(value.to_string())
    }

    /// Sends these bytes, without a `Content-Type` of its own.
    pub(crate) fn body(mut self, bytes: impl Into<Bytes>) -> Self {
        self.body = bytes.into();
        self
    }

    /// Sends it and waits for the headers of the answer.
    pub(crate) async fn send(self) -> Answer {
        self.try_send().await.expect("the server answers")
    }

    /// Sends it and reads the answer to its end, whatever that is: for a call that will be cut.
    pub(crate) async fn try_send_quietly(self) {
        if let Ok(answer) = self.try_send().await {
            let mut chunks = std::pin::pin!(answer.chunks());
            while let Some(Ok(_)) = chunks.next().await {}
        }
    }

    /// The same where the server may be on its way down.
    pub(crate) async fn try_send(self) -> Result<Answer, Box<dyn std::error::Error + Send + Sync>> {
        let request = self.request.body(Full::new(self.body))?;
        let what = format!("the answer to {} {}", request.method(), request.uri());
        within(HEADERS_WITHIN, &what, async {
            let stream = TcpStream::connect(self.server).await?;
            let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
            let connection = Connection(tokio::spawn(async move {
                // Its end is seen by whoever reads the body.
                let _ = connection.await;
            }));
            let response = sender.send_request(request).await?;
            Ok(Answer {
                response,
                connection,
            })
        })
        .await
    }
}

/// The headers of an answer, and its body still to come. Dropping it hangs up.
pub(crate) struct Answer {
    response: hyper::Response<Incoming>,
    connection: Connection,
}

impl Answer {
    /// The status code.
    pub(crate) fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    /// The headers.
    pub(crate) fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// The value of a header; empty where there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers()
            .get(name)
            .map_or("", |value| value.to_str().expect("headers are text"))
    }

    /// The whole body.
    pub(crate) async fn bytes(self) -> Bytes {
        within(
            HEADERS_WITHIN,
            "the body",
            self.response.into_body().collect(),
        )
        .await
        .expect("the body arrives whole")
        .to_bytes()
    }

    /// The whole body as text.
    pub(crate) async fn text(self) -> String {
        String::from_utf8(self.bytes().await.into()).expect("the body is UTF-8")
    }

    /// The whole body as JSON.
    pub(crate) async fn json(self) -> Value {
        let text = self.text().await;
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// The body as it comes: comments and all. An error is a cut.
    pub(crate) fn chunks(self) -> impl Stream<Item = Result<Bytes, hyper::Error>> {
        let Self {
            response,
            connection,
        } = self;
        BodyStream::new(response.into_body()).filter_map(move |frame| {
            let _hangs_up_when_dropped = &connection;
            let data = frame.map(|frame| frame.into_data().ok()).transpose();
            async move { data }
        })
    }

    /// The body as an `EventSource` reads it.
    pub(crate) fn events(self) -> Events {
        assert_eq!(self.status(), 200, "a stream of events");
        assert!(
            self.header("Content-Type").starts_with("text/event-stream"),
            "{:?}",
            self.headers()
        );
        Events {
            stream: self.chunks().boxed().eventsource(),
        }
    }
}

/// Server-sent events. Dropping it hangs up.
pub(crate) struct Events {
    stream: EventStream<BoxStream<'static, Result<Bytes, hyper::Error>>>,
}

/// One event, and when it came.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) id: String,
    pub(crate) data: Value,
    pub(crate) at: Instant,
}

impl Event {
    /// `stdout`, `exit`, `build`, …
    pub(crate) fn kind(&self) -> &str {
        self.data["type"].as_str().expect("every event has a type")
    }

    /// What was printed, or the sentence for a person.
    pub(crate) fn text(&self) -> &str {
        self.data["data"]
            .as_str()
            .expect("every event has a string `data`")
    }
}

impl Events {
    /// The next event; nothing at the end of the stream, however that came.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        let event = within(EVENT_WITHIN, "the next event", self.stream.try_next())
            .await
            .ok()??;
        let data = serde_json::from_str(&event.data).expect("every event's data is JSON");
        Some(Event {
            id: event.id,
            data,
            at: Instant::now(),
        })
    }

    /// Every event until the stream ends.
    pub(crate) async fn rest(mut self) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            events.push(event);
        }
        events
    }

    /// Reads on until an event of this type; fails the test if the stream ends first.
    pub(crate) async fn until(&mut self, kind: &str) -> Event {
        loop {
            let event = self
                .next()
                .await
                .unwrap_or_else(|| panic!("the stream ended before {kind}"));
            if event.kind() == kind {
                return event;
            }
        }
    }
}

/// The task that drives a connection; dropping it closes the socket.
struct Connection(JoinHandle<()>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}
