//! A real supervisor on a Unix socket, with folders of its own, and a client that speaks to it.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper::{HeaderMap, Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::UnixStream;

/// The token of every supervisor in the tests.
pub(crate) const TOKEN: &str = "a-token-for-tests-only";

/// A supervisor, killed when dropped.
pub(crate) struct Supervisor {
    child: Child,
    folder: TempDir,
}

/// An answer that was read whole.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Supervisor {
    /// Starts one with the default settings and waits until it listens.
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts one with these variables on top.
    pub(crate) fn start_with(variables: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("workspace")).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_sandbox-supervisor"))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("SANDBOX_TOKEN", TOKEN)
            .env("SANDBOX_SOCKET", folder.path().join("socket"))
            .env("SANDBOX_WORKSPACE", folder.path().join("workspace"))
            .env("SANDBOX_STATE", folder.path().join("state"))
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert!(line.starts_with("listening on "), "it says {line:?}");
        Self { child, folder }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    /// The folder that the API knows as the workspace.
    pub(crate) fn workspace(&self) -> PathBuf {
        self.folder.path().join("workspace")
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, None).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.call(Method::DELETE, path, None).await
    }

    pub(crate) async fn post(&self, path: &str, json: &Value) -> Answer {
        self.call(Method::POST, path, Some(json)).await
    }

    pub(crate) async fn put(&self, path: &str, json: &Value) -> Answer {
        self.call(Method::PUT, path, Some(json)).await
    }

    async fn call(&self, method: Method, path: &str, json: Option<&Value>) -> Answer {
        let mut request = request(method, path);
        let mut body = Bytes::new();
        if let Some(json) = json {
            body = serde_json::to_vec(json).unwrap().into();
            request = request.header("content-type", "application/json");
        }
        Answer::read(self.send(request.body(Full::new(body)).unwrap()).await).await
    }

    /// Sends `request` on a connection of its own; the body of the answer comes as it comes. The connection
    /// ends when the answer is dropped.
    pub(crate) async fn send<B>(&self, request: Request<B>) -> Response<Incoming>
    where
        B: Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
    {
        send(&self.socket(), request).await
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// A request with the token, still without a body.
pub(crate) fn request(method: Method, path: &str) -> hyper::http::request::Builder {
    Request::builder()
        .method(method)
        .uri(path)
        .header("host", "supervisor")
        .header("authorization", format!("Bearer {TOKEN}"))
}

/// Sends `request` to whoever listens on `socket`.
pub(crate) async fn send<B>(socket: &Path, request: Request<B>) -> Response<Incoming>
where
    B: Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
{
    let stream = UnixStream::connect(socket).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender.send_request(request).await.unwrap()
}

impl Answer {
    pub(crate) async fn read(response: Response<Incoming>) -> Self {
        let (head, body) = response.into_parts();
        Self {
            status: head.status.as_u16(),
            headers: head.headers,
            body: body.collect().await.unwrap().to_bytes(),
        }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }

    /// The status and the code of an error.
    pub(crate) fn code(&self) -> (u16, String) {
        let code = self.json()["code"].as_str().unwrap_or_default().to_owned();
        (self.status, code)
    }
}
