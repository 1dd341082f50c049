//! A Worker of your own that runs builds in sandboxes.
//!
//! - `POST /build/{id}` with a shell script as its body runs it as a build and streams what it prints as plain text,
//!   then a line that says how it ended. The sandbox is destroyed by then.
//! - `POST /guide/{id}` with a shell script does so by hand, as the guide's last example has it: a process in a
//!   sandbox that is kept alive, its log followed until "Build complete", and a finally.
//! - `POST /serve/{id}` starts a web server, waits until it answers, asks it something, and kills it.
//! - `POST /calls/{id}` with a free port as its body makes every call of the library once.
//! - `GET /events/{id}` tells what happened to the sandbox, and why.
//!
//! From the project's root, and then from another terminal:
//!
//! ```sh
//! CONFIG=examples/build-worker/wrangler.toml make dev
//!
//! curl -N http://localhost:8787/build/demo -d 'for i in 1 2 3; do echo step $i; sleep 1; done; echo Build complete'
//! curl -N http://localhost:8787/guide/demo -d 'echo step 1; sleep 2; echo Build complete; sleep 1000'
//! curl -X POST http://localhost:8787/serve/demo
//! curl http://localhost:8787/events/demo
//! ```

mod calls;

use futures::channel::mpsc;
use futures::stream::{self, select};
use futures::{StreamExt, TryStreamExt};
use worker::{Context, Env, Request, Response, Result, event};
use workers_sandbox::{
    BuildOptions, Error, ExecOptions, LogEvent, PortCheck, ProcessOptions, SandboxHandle,
    SandboxOptions, Signal, get_sandbox,
};

const USAGE: &str =
    "POST /build/{id}, /guide/{id}, /serve/{id} or /calls/{id}, or GET /events/{id}";

#[event(fetch)]
async fn fetch(mut request: Request, env: Env, _context: Context) -> Result<Response> {
    let path = request.path();
    let Some((what, id)) = path.trim_start_matches('/').split_once('/') else {
        return Response::error(USAGE, 404);
    };
    let options = match what {
        "guide" => SandboxOptions::new().keep_alive(true),
        _ => SandboxOptions::new(),
    };
    let sandbox = get_sandbox(&env, "SANDBOX", id, options)?;
    match what {
        "build" => build(&sandbox, request.text().await?).await,
        "guide" => guide(sandbox, request.text().await?),
        "serve" => Ok(serve(&sandbox).await?),
        "calls" => {
            let wrong = |error| worker::Error::from(format!("the port: {error}"));
            let port = request.text().await?.parse().map_err(wrong)?;
            Response::from_json(&calls::calls(&sandbox, port).await?)
        }
        "events" => Response::from_json(&sandbox.events().await?),
        _ => Response::error(USAGE, 404),
    }
}

/// The guide's last example: follows a build in a sandbox that is destroyed whatever comes of it. A client that hangs
/// up drops the stream, and with it the work.
fn guide(sandbox: SandboxHandle, script: String) -> Result<Response> {
    let (tell, told) = mpsc::unbounded();
    let work = async move {
        let build = async |sandbox: SandboxHandle| {
            let build = sandbox
                .start_process(&script, ProcessOptions::new())
                .await?;
            let mut logs = sandbox.stream_process_logs(build.id()).await?;
            while let Some(event) = logs.try_next().await? {
                let text = said(event);
                let complete = text.contains("Build complete");
                // Whoever listens drops this work when it stops listening.
                let _ = tell.unbounded_send(text);
                if complete {
                    return Ok("Build completed\n".to_owned());
                }
            }
            Err(worker::Error::from("the build ended without completing").into())
        };
        let built = sandbox.scoped(build).await;
        built.unwrap_or_else(|error| format!("Build failed: {error}\n"))
    };
    let text = select(told, stream::once(work));
    Response::from_stream(text.map(|text| Ok::<_, worker::Error>(text.into_bytes())))
}

/// Runs `script` as a build and streams what it prints.
async fn build(sandbox: &SandboxHandle, script: String) -> Result<Response> {
    sandbox.write_file("/workspace/build.sh", script).await?;
    let options = BuildOptions::new()
        .until_log("Build complete")
        .timeout_ms(600_000);
    let events = sandbox.build("bash build.sh", options).await?;
    let text = events.map(|event| Ok::<_, Error>(said(event?)));
    Response::from_stream(text.map_ok(String::into_bytes).map_err(worker::Error::from))
}

/// What an event says, as text.
fn said(event: LogEvent<'static>) -> String {
    match event {
        LogEvent::Stdout(output) | LogEvent::Stderr(output) => output.data.into_owned(),
        LogEvent::Build(end) => format!("{}\n", end.data),
        _ => String::new(),
    }
}

/// The guide's flow: a server, its readiness, its log, its end.
async fn serve(sandbox: &SandboxHandle) -> std::result::Result<Response, Error> {
    let server = sandbox
        .start_process(
            "exec python -u -m http.server --bind 127.0.0.1 18640",
            ProcessOptions::new().id("web").env("GREETING", "hello"),
        )
        .await?;
    server.wait_for_port(18640, PortCheck::http("/")).await?;
    let line = server.wait_for_log("Serving HTTP").await?.line;
    let asked = sandbox
        .exec(
            "curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:18640/",
            ExecOptions::new(),
        )
        .await?;
    let running = sandbox.list_processes().await?.len();
    let mut logs = sandbox.stream_process_logs(server.id()).await?;
    let receipt = sandbox.kill_process(server.id(), Signal::Kill).await?;
    let mut last = None;
    while let Some(event) = logs.try_next().await? {
        last = Some(event);
    }
    let exit = server.wait_for_exit().await?;
    let destroyed = sandbox.destroy().await?;
    let answer = serde_json::json!({
        "line": line,
        "asked": asked.stdout,
        "running": running,
        "signalled": receipt.signalled.len(),
        "survivors": receipt.survivors.len(),
        "last": last,
        "reason": exit.reason,
        "containerDestroyed": destroyed.container_destroyed,
    });
    Ok(Response::from_json(&answer)?)
}
