//! A real supervisor on a Unix socket, with folders of its own, and a client that speaks to it.

use std::convert::Infallible;
use std::fs::Permissions;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::client::conn::http1;
use hyper::{HeaderMap, Method, Request, Response};
use hyper_util::rt::TokioIo;
use rustix::process::{Pid, Signal};
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::UnixStream;
use tokio::sync::mpsc;

/// The token of every supervisor in the tests.
pub(crate) const TOKEN: &str = "a-token-for-tests-only";

/// The program that is tested.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_sandbox-supervisor");

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
        Self::start_by(&mut Command::new(BINARY), variables)
    }

    /// Starts one by `command`, which executes [`BINARY`] in the end.
    pub(crate) fn start_by(command: &mut Command, variables: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("workspace")).unwrap();
        // Another user than ours must reach the workspace; the socket and the state are closed by themselves.
        set_mode(folder.path(), 0o755);
        let mut child = command
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

    /// The folder that has the workspace, the state and the socket.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Asks it to stop and waits until it has.
    pub(crate) fn terminate(&mut self) -> ExitStatus {
        let pid = Pid::from_child(&self.child);
        rustix::process::kill_process(pid, Signal::TERM).unwrap();
        self.child.wait().unwrap()
    }

    /// How it has ended by itself, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
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

    /// Sends raw bytes, as files and archives are sent.
    pub(crate) async fn send_bytes(
        &self,
        method: Method,
        path: &str,
        bytes: impl Into<Bytes>,
    ) -> Answer {
        let body = Full::new(bytes.into());
        Answer::read(self.send(request(method, path).body(body).unwrap()).await).await
    }

    /// The most memory that the supervisor has had so far, in bytes.
    pub(crate) fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:"));
        let kib: u64 = line
            .and_then(|line| line.split_whitespace().nth(1))
            .and_then(|kib| kib.parse().ok())
            .unwrap();
        kib * 1024
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
        let (mut sender, connection) = connect(&self.socket()).await;
        tokio::spawn(connection);
        sender.send_request(request).await.unwrap()
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// Sets the permissions of `path`.
pub(crate) fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// A request with the token, still without a body.
pub(crate) fn request(method: Method, path: &str) -> hyper::http::request::Builder {
    Request::builder()
        .method(method)
        .uri(path)
        .header("host", "supervisor")
        .header("authorization", format!("Bearer {TOKEN}"))
}

/// Waits until `happened`, at most 10 s; for what tells nobody when it happens.
pub(crate) async fn eventually(what: &str, mut happened: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !happened() {
        assert!(Instant::now() < deadline, "not within 10 s: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A connection to whoever listens on `socket`: the end to send requests on, and the task that carries them.
pub(crate) async fn connect<B>(
    socket: &Path,
) -> (
    http1::SendRequest<B>,
    http1::Connection<TokioIo<UnixStream>, B>,
)
where
    B: Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + 'static,
{
    let stream = UnixStream::connect(socket).await.unwrap();
    http1::handshake(TokioIo::new(stream)).await.unwrap()
}

/// Whether the process `pid` exists and is no zombie.
pub(crate) fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat
        .rsplit(") ")
        .next()
        .and_then(|rest| rest.chars().next());
    !matches!(state, None | Some('Z' | 'X'))
}

/// A body made of what is sent to the channel; it ends when the sender is dropped.
pub(crate) fn streamed() -> (mpsc::Sender<Bytes>, Streamed) {
    let (sender, receiver) = mpsc::channel(1);
    (sender, Streamed(receiver))
}

/// The body of [`streamed`].
pub(crate) struct Streamed(mpsc::Receiver<Bytes>);

impl Body for Streamed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let bytes = std::task::ready!(self.0.poll_recv(context));
        Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
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
