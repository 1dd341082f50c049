//! The supervisor: what runs in a sandbox, what it printed, whether it is ready, whether it is gone.
//!
//! # Theory of operation
//!
//! `main` reads the configuration, wipes it from where others could read it, forks the zygote while there
//! is one thread, and only then builds the runtime and calls [`run`]. From there on:
//!
//! - [`process`] starts what is asked for through the zygote, keeps each tree together and ends it whole.
//!   [`init`] reaps what is left to us and nobody else waits for a child.
//! - [`files`] and [`archive`] work in the workspace with the sandbox user's rights, on threads of their own
//!   ([`rights`]); the kernel decides, as it opens, whether a path stays inside.
//! - `ports` passes requests on to the services in the sandbox; nothing of ours goes in with them.
//! - [`api`] turns a request into a call on a handle and a handle's answer into a response. Every call shows
//!   the token. Nothing imports `api`. `drain` lets who is refused finish sending.
//! - [`engine`] is the same program as a development engine without Docker: one supervisor a sandbox, each in
//!   namespaces of its own.
//!
//! Invariants:
//! - only [`config`] reads the environment and the arguments;
//! - [`error::Error`] becomes a wire error in one function, and a response in one other;
//! - handles are cheap clones, tasks own resources, nothing polls.

pub mod account;
pub mod activity;
pub mod api;
pub mod archive;
pub mod boot;
pub mod config;
mod drain;
pub mod engine;
pub mod environment;
pub mod error;
pub mod files;
mod forward;
mod held;
pub mod init;
mod json;
pub mod logs;
mod ports;
pub mod process;
pub mod ready;
mod response;
pub mod rights;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::{Duration, Instant};

use axum::serve::ListenerExt;
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::config::{Config, Listen};
use crate::init::Reaper;
use crate::process::cgroup::Groups;
use crate::process::spawn::Spawner;
use crate::process::zygote::Zygote;

/// A socket that is bound and listens.
#[derive(Debug)]
pub enum Listener {
    /// A TCP socket, in a container.
    Tcp(TcpListener),
    /// A Unix socket, in the local engine and in tests.
    Unix(UnixListener),
}

impl Listener {
    /// Binds what `listen` names. A Unix socket is reachable by its owner only.
    pub async fn bind(listen: &Listen) -> io::Result<Self> {
        match listen {
            Listen::Tcp(address) => TcpListener::bind(address).await.map(Self::Tcp),
            Listen::Unix(path) => {
                let listener = UnixListener::bind(path)?;
                rustix::fs::chmod(path, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR)?;
                Ok(Self::Unix(listener))
            }
        }
    }

    /// Where it listens, for a person and for a test: `http://127.0.0.1:9711` or `unix:/path`.
    pub fn address(&self) -> io::Result<String> {
        match self {
            Self::Tcp(listener) => Ok(format!("http://{}", listener.local_addr()?)),
            Self::Unix(listener) => {
                let address = listener.local_addr()?;
                let path = address.as_pathname().unwrap_or(std::path::Path::new("?"));
                Ok(format!("unix:{}", path.display()))
            }
        }
    }
}

/// How long answers may go on after the last tree is gone.
const LAST_ANSWERS: Duration = Duration::from_secs(5);

/// Serves the API on `listener` until `shutdown` resolves; then accepts no more, ends every tree within its
/// grace, and returns when the last answer is out. Processes are started through `zygote`, each in one of
/// `groups` where there are any. Without its zygote a supervisor could start nothing any more, so when that is
/// killed it ends in the same order, with an error: whoever wants the next process gets a new container.
pub async fn run(
    listener: Listener,
    config: Config,
    zygote: Zygote,
    groups: Option<Groups>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let begun = Instant::now();
    let reaper = Reaper::start()?;
    let zygote_gone = reaper.claim(zygote.pid(), begun);
    let spawner = Spawner::new(zygote, reaper, groups)?;
    let state = api::State::new(config, spawner)?;
    let app = api::router(state.clone());
    let (stopping, stopped) = oneshot::channel::<()>();
    let no_more = async {
        // Both ways it is time to stop.
        let _ = stopped.await;
    };
    let server = async {
        match listener {
            Listener::Tcp(listener) => {
                let server = axum::serve(without_delay(listener), app);
                server.with_graceful_shutdown(no_more).await
            }
            Listener::Unix(listener) => {
                let server = axum::serve(listener, app);
                server.with_graceful_shutdown(no_more).await
            }
        }
    };
    let mut server = pin!(server);
    let reason = tokio::select! {
        // A signal to the whole group stops both.
        biased;
        result = &mut server => return result,
        () = shutdown => Ok(()),
        _ = zygote_gone => Err(io::Error::other("the zygote was killed")),
    };
    drop(stopping);
    let mut ending = pin!(state.end());
    let early = tokio::select! {
        result = &mut server => Some(result),
        () = &mut ending => None,
    };
    let result = match early {
        Some(result) => {
            ending.await;
            result
        }
        // One who holds a connection open does not hold up the container.
        None => timeout(LAST_ANSWERS, server).await.unwrap_or(Ok(())),
    };
    reason.and(result)
}

/// `listener`, whose connections send at once: an event is one small write, and the next may be long in coming.
pub(crate) fn without_delay(
    listener: TcpListener,
) -> impl axum::serve::Listener<Io = TcpStream, Addr = SocketAddr> {
    listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            eprintln!("supervisor: TCP_NODELAY refused: {error}");
        }
    })
}
