//! The client: one connection, JSON in and out, and bodies that are read as they come.

use std::io;
use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::child;
use crate::server::{Server, TOKEN};

/// A connection that is kept open between calls.
#[derive(Debug)]
pub(crate) struct Client(SendRequest<Full<Bytes>>);

impl Client {
    /// Connects to `address`.
    pub(crate) async fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(io::Error::other)?;
        tokio::spawn(connection);
        Ok(Self(sender))
    }

    /// The answer to a request, its body still to be read. An error unless it is a success.
    pub(crate) async fn send(
        &mut self,
        method: Method,
        path: &str,
        accept: &str,
        body: &Value,
    ) -> io::Result<Response<Incoming>> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "supervisor")
            .header("authorization", format!("Bearer {TOKEN}"))
            .header("accept", accept);
        let mut bytes = Bytes::new();
        if !body.is_null() {
            request = request.header("content-type", "application/json");
            bytes = serde_json::to_vec(body)?.into();
        }
        let request = request.body(Full::new(bytes)).map_err(io::Error::other)?;
        self.0.ready().await.map_err(io::Error::other)?;
        let response = self
            .0
            .send_request(request)
            .await
            .map_err(io::Error::other)?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let body = response.collect().await.map_err(io::Error::other)?;
        let text = String::from_utf8_lossy(&body.to_bytes()).into_owned();
        Err(io::Error::other(format!("{path}: {status}: {text}")))
    }

    /// The answer to a request, as JSON.
    pub(crate) async fn call(
        &mut self,
        method: Method,
        path: &str,
        body: &Value,
    ) -> io::Result<Value> {
        let response = self.send(method, path, "application/json", body).await?;
        let body = response.collect().await.map_err(io::Error::other)?;
        Ok(serde_json::from_slice(&body.to_bytes())?)
    }

    /// Starts a child of this program as `id`; it prints when it is told to ([`Client::begin`]).
    pub(crate) async fn start(&mut self, id: &str, kind: &str, numbers: &[u64]) -> io::Result<()> {
        let argv = child::argv(kind, numbers)?;
        let body = json!({"id": id, "argv": argv, "stdin": "pipe"});
        self.call(Method::POST, "/processes", &body).await?;
        Ok(())
    }

    /// Lets the child `id` print.
    pub(crate) async fn begin(&mut self, id: &str) -> io::Result<()> {
        let path = format!("/processes/{id}/stdin");
        // The body of this call is what the process reads, not JSON; a number is both.
        self.call(Method::POST, &path, &json!(1)).await?;
        Ok(())
    }
}

/// The log of `id` as it is printed, on a connection of its own.
pub(crate) async fn follow(server: &Server, id: &str) -> io::Result<Incoming> {
    let path = format!("/processes/{id}/logs?follow=true");
    let mut client = Client::connect(server.address).await?;
    let answer = client.send(Method::GET, &path, "text/event-stream", &Value::Null);
    Ok(answer.await?.into_body())
}

/// The next piece of a body; `None` at its end.
pub(crate) async fn piece(body: &mut Incoming) -> io::Result<Option<Bytes>> {
    loop {
        match body.frame().await {
            None => return Ok(None),
            Some(Err(error)) => return Err(io::Error::other(error)),
            Some(Ok(frame)) => {
                if let Ok(bytes) = frame.into_data() {
                    return Ok(Some(bytes));
                }
            }
        }
    }
}

/// Cuts a body into its server-sent events.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    held: Vec<u8>,
}

impl Frames {
    /// The events that are complete with `piece`.
    pub(crate) fn take(&mut self, piece: &[u8]) -> io::Result<Vec<Value>> {
        self.held.extend_from_slice(piece);
        let mut events = Vec::new();
        while let Some(end) = memchr::memmem::find(&self.held, b"\n\n") {
            let frame: Vec<u8> = self.held.drain(..end + 2).collect();
            let data = frame.split(|byte| *byte == b'\n');
            for line in data.filter_map(|line| line.strip_prefix(b"data: ")) {
                events.push(serde_json::from_slice(line)?);
            }
        }
        Ok(events)
    }
}
