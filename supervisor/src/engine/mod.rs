//! The local engine: sandboxes without Docker, on a developer's machine. For development, not for isolation.
//!
//! `sandbox-supervisor engine --listen 127.0.0.1:0 --state <folder>` prints one line when it is ready,
//! `engine listening on http://127.0.0.1:<port>`, and runs one supervisor per sandbox id. It ends, and all
//! sandboxes and their folders with it, on SIGINT or SIGTERM, and when whoever started it goes: the standard
//! input that brought its secret is closed then, and without one the kernel tells.
//!
//! Every request shows `Sandbox-Engine-Secret: <secret>` (`SANDBOX_ENGINE_SECRET`, else the first line of the
//! standard input) and a loopback `Host`. `Authorization` is left for the supervisor's own token.
//!
//! | call | answer |
//! |---|---|
//! | `POST /{id}/start` `{"token", "env": {…}}` | 200 `{"running": true}` when its supervisor listens; 409 `PROCESS_ALREADY_EXISTS` if it runs already; 503 if it does not come up |
//! | `GET /{id}/status` | `{"running": bool}` |
//! | `DELETE /{id}` | kills it; `{"running": false}` when everything in it and its folder is gone. Idempotent |
//! | any `/{id}/port/{path}` | what its supervisor answers to `/{path}`, streamed both ways, upgrades included; 502 `{"error": "not listening", …}` where it does not run |
//!
//! An error on the way to a supervisor has the header `Sandbox-Engine-Error`; without it, the supervisor itself
//! answered.
//!
//! # How a sandbox is made
//!
//! ```text
//! engine ──stdin pipe──▶ launcher ──fork──▶ supervisor, PID 1 of its namespaces ──▶ processes
//! ```
//!
//! `sandbox` starts the program again as the launcher. `launch` unshares the pid namespace (and, for
//! those who are not root, the user namespace), and forks. The child gets a mount namespace, builds its root
//! (`root`) and goes on as an ordinary supervisor. The launcher waits for whatever comes first: the end of
//! the child, or of the pipe from the engine, which ends even when the engine is killed. Then it kills the
//! child, and the kernel everything in the namespace; then it removes the folder. If the launcher is killed,
//! the kernel kills the child.
//!
//! Where the kernel refuses namespaces, the engine says so when it starts. Sandboxes then share the machine's
//! folders, paths under `/workspace` are refused as working directories, and the launcher, a subreaper, kills
//! what is left one by one.

mod api;
mod folder;
mod launch;
mod root;
mod sandbox;
mod sandboxes;

use std::fs::DirBuilder;
use std::io::{self, BufRead};
use std::os::unix::fs::DirBuilderExt;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use crate::config::{EngineConfig, Token};
use sandboxes::Sandboxes;

pub use launch::launch;

/// Runs the engine until it is told to end.
pub fn serve(config: EngineConfig) -> io::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&config.state_dir)?;
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(run(config))
}

async fn run(mut config: EngineConfig) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (secret, orphaned) = match config.secret.take() {
        Some(secret) => {
            let signal = rustix::process::Signal::TERM;
            rustix::process::set_parent_process_death_signal(Some(signal))?;
            (secret, oneshot::channel().1)
        }
        None => secret_from_stdin()?,
    };
    let listener = TcpListener::bind(config.listen).await?;
    let address = listener.local_addr()?;
    let sandboxes = Sandboxes::new(config).await?;
    let app = api::router(sandboxes.clone(), secret);
    let listener = crate::without_delay(listener);
    let server = tokio::spawn(async move { axum::serve(listener, app).await });
    println!("engine listening on http://{address}");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        Ok(()) = orphaned => {}
    }
    // First the sandboxes, while those who stream from them still can see them end.
    sandboxes.destroy_all().await;
    server.abort();
    Ok(())
}

/// The first line of the standard input, and what resolves when the rest of it ends: whoever gave us the
/// secret is gone then.
fn secret_from_stdin() -> io::Result<(Token, oneshot::Receiver<()>)> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    let secret = Token::new(
        "SANDBOX_ENGINE_SECRET, else the first line of the standard input",
        line.trim_end().to_owned(),
    )
    .map_err(io::Error::other)?;
    let (gone, orphaned) = oneshot::channel();
    std::thread::Builder::new()
        .name("parent".to_owned())
        .spawn(move || {
            if let Err(error) = io::copy(&mut io::stdin().lock(), &mut io::sink()) {
                eprintln!("engine: standard input: {error}");
            }
            // The engine may be ending by itself already.
            let _ = gone.send(());
        })?;
    Ok((secret, orphaned))
}
