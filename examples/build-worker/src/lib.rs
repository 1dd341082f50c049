//! A Worker of your own that runs builds in sandboxes.
//!
//! - `POST /build/{id}` with a shell script as its body runs it and streams what it prints as plain text, then a
//!   line that says how it ended. The sandbox is destroyed by then.
//! - `POST /serve/{id}` starts a web server, waits until it answers, asks it something, and kills it.

use futures::{StreamExt, TryStreamExt};
use worker::{Context, Env, Request, Response, Result, event};
use workers_sandbox::{
    BuildOptions, Error, ExecOptions, LogEvent, PortCheck, ProcessOptions, SandboxHandle,
    SandboxOptions, Signal, get_sandbox,
};

#[event(fetch)]
async fn fetch(mut request: Request, env: Env, _context: Context) -> Result<Response> {
    let path = request.path();
    let Some((what, id)) = path.trim_start_matches('/').split_once('/') else {
        return Response::error("POST /build/{id} or /serve/{id}", 404);
    };
    let options = SandboxOptions::new().sleep_after_ms(60_000);
    let sandbox = get_sandbox(&env, "SANDBOX", id, options)?;
    match what {
        "build" => build(&sandbox, request.text().await?).await,
        "serve" => Ok(serve(&sandbox).await?),
        _ => Response::error("POST /build/{id} or /serve/{id}", 404),
    }
}

/// Runs `script` as a build and streams what it prints.
async fn build(sandbox: &SandboxHandle, script: String) -> Result<Response> {
    sandbox
        .write_file("/workspace/build.sh", script.into())
        .await?;
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
