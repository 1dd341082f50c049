//! Every call of the library once, by its name, and what each said: `POST /calls/{id}` with a free port as its body.

use futures::TryStreamExt;
use serde_json::{Value, json};
use worker::{Method, Request, RequestInit};
use workers_sandbox::{
    BuildOptions, Error, Events, ExecOptions, LogEvent, LogPattern, PortCheck, ProcessOptions,
    SandboxHandle, Signal,
};

const SERVER: &str = r#"
require("node:http")
  .createServer((request, response) => request.pipe(response.setHeader("X-Asked", request.method + " " + request.url)))
  .listen(process.env.PORT, "127.0.0.1", () => console.log("Server listening on " + process.env.PORT));
"#;

/// Makes them all in a scope.
pub async fn calls(sandbox: &SandboxHandle, port: u16) -> Result<Value, Error> {
    let said = sandbox
        .scoped(async |sandbox| {
            Ok(json!({
                "files": files(&sandbox).await?,
                "server": server(&sandbox, port).await?,
                "processes": processes(&sandbox).await?,
                "settings": settings(&sandbox).await?,
                "refusals": refusals(&sandbox).await?,
                "build": build(&sandbox).await?,
            }))
        })
        .await?;
    Ok(said)
}

async fn files(sandbox: &SandboxHandle) -> Result<Value, Error> {
    sandbox
        .write_file("/workspace/api/server.js", SERVER)
        .await?;
    // The platform moves it; nothing is read here.
    let original = sandbox.open_file("/workspace/api/server.js").await?;
    sandbox
        .write_file("/workspace/api/copy.js", original)
        .await?;
    let copied = sandbox.read_file("/workspace/api/copy.js").await? == SERVER.as_bytes();
    let archive = sandbox.persist(&["api/server.js"]).await?.bytes().await?;
    sandbox.delete_file("/workspace/api/copy.js").await?;
    let names = async || {
        let entries = sandbox.list_files("/workspace/api").await?;
        Ok::<_, Error>(
            entries
                .into_iter()
                .map(|entry| entry.name)
                .collect::<Vec<_>>(),
        )
    };
    let without = names().await?;
    sandbox.hydrate(archive).await?;
    Ok(json!({"copied": copied, "without": without, "restored": names().await?}))
}

/// The guide's server, from its start to its end.
async fn server(sandbox: &SandboxHandle, port: u16) -> Result<Value, Error> {
    let options = ProcessOptions::new()
        .cwd("/workspace/api")
        .env("PORT", port.to_string());
    let server = sandbox
        .start_process("exec node server.js", options)
        .await?;
    server
        .wait_for_port(port, PortCheck::http("/health"))
        .await?;
    server.wait_for_port(port, PortCheck::tcp()).await?;
    let line = server.wait_for_log("Server listening").await?.line;
    let pattern = LogPattern::regex(r"listening on (\d+)");
    let groups = server.wait_for_log(pattern).await?.groups;
    let mut logs = server.stream_logs().await?;
    let first = matches!(logs.try_next().await?, Some(LogEvent::Stdout(_)));
    let cursor = logs.cursor().unwrap_or_default().to_owned();

    let mut init = RequestInit::new();
    init.with_method(Method::Put)
        .with_body(Some("hello".into()));
    let request = Request::new_with_init("https://example.com/echo?a=b", &init)?;
    let mut answer = sandbox.fetch_port(port, request).await?;
    let asked = (answer.headers().get("X-Asked")?, answer.text().await?);

    let found = sandbox.get_process(server.id()).await?.is_some();
    let printed =
        sandbox.get_process_logs(server.id()).await?.stdout == server.logs().await?.stdout;
    let used = server.stats().await?.processes;
    let before = server.status().await?;
    sandbox.kill_process(server.id(), Signal::Kill).await?;
    let exit = server.wait_for_exit().await?;
    let rest = sandbox
        .stream_process_logs_after(server.id(), &cursor)
        .await?;
    Ok(json!({
        "line": line == format!("Server listening on {port}"),
        "group": groups.get(1) == Some(&Some(port.to_string())),
        "first": first,
        "asked": asked,
        "found": found,
        "printed": printed,
        "used": used,
        "before": before,
        "after": server.status().await?,
        "exit": [json!(exit.exit_code), json!(exit.signal), json!(exit.reason)],
        "rest": kinds(rest).await?,
    }))
}

async fn processes(sandbox: &SandboxHandle) -> Result<Value, Error> {
    let options = ExecOptions::new().env("MODE", "test").stdin("from stdin\n");
    let tests = sandbox.exec("cat; echo $MODE; exit 3", options).await?;
    let sort = sandbox
        .start_process("sort", ProcessOptions::new().id("sort").stdin())
        .await?;
    let written = sort.write_stdin("b\na\n").await?;
    sort.close_stdin().await?;
    let exit = sort.wait_for_exit().await?;
    let one = sandbox
        .start_process("touch up; exec sleep 1000", ProcessOptions::new().id("one"))
        .await?;
    one.wait_for_file("/workspace/up").await?;
    one.wait_for_command(&["test", "-e", "/workspace/up"])
        .await?;
    let killed = one.kill().await?;
    for id in ["two", "three"] {
        let options = ProcessOptions::new().id(id);
        sandbox.start_process("exec sleep 1000", options).await?;
    }
    let all = sandbox.kill_all_processes().await?;
    let listed = sandbox.list_processes().await?.len();
    sort.forget().await?;
    Ok(json!({
        "exec": [json!(tests.exit_code), json!(tests.stdout)],
        "written": written,
        "sorted": exit.exit_code,
        "signalled": killed.signalled.len(),
        "all": all,
        "listed": listed,
        "forgotten": sandbox.get_process("sort").await?.is_none(),
    }))
}

async fn settings(sandbox: &SandboxHandle) -> Result<Value, Error> {
    sandbox.set_keep_alive(true).await?;
    sandbox.set_sleep_after("30m").await?;
    let kept = sandbox.state().await?;
    sandbox.set_keep_alive(false).await?;
    let state = sandbox.state().await?;
    let limits = sandbox.limits().await?;
    let events = sandbox.events().await?;
    Ok(json!({
        "kept": kept.keep_alive.is_some(),
        "released": state.keep_alive.is_none(),
        "sleepAfterMs": state.sleep_after_ms,
        "limits": limits.iter().any(|limit| limit.name == "processes"),
        "first": events.first().map(|event| event.event.clone()),
    }))
}

/// What is refused comes with its code.
async fn refusals(sandbox: &SandboxHandle) -> Result<Value, Error> {
    let cwd = ProcessOptions::new().cwd("/nowhere");
    let codes = [
        sandbox.start_process("true", cwd).await.err(),
        sandbox.read_file("/workspace/nothing").await.err(),
        sandbox.read_file("/etc/passwd").await.err(),
        sandbox.get_process_logs("nobody").await.err(),
        sandbox.get_process("no name").await.err(),
        sandbox.set_sleep_after("soon").await.err(),
        sandbox.get_build("none").await.err(),
    ];
    let codes = codes.map(|error| error.and_then(|error| error.code()));
    Ok(json!(codes))
}

/// A build that is cancelled, and read again when its sandbox is gone.
async fn build(sandbox: &SandboxHandle) -> Result<Value, Error> {
    let mut events = sandbox
        .build("echo begun; exec sleep 1000", BuildOptions::new())
        .await?;
    events.try_next().await?;
    let id = events.id().to_owned();
    let cancelled = sandbox.cancel_build(&id).await?;
    let again = sandbox.stream_build_logs(&id).await?;
    Ok(json!({
        "rest": kinds(events).await?,
        "again": kinds(again).await?,
        "status": [cancelled.status, sandbox.get_build(&id).await?.status],
        "builds": sandbox.list_builds().await?.len(),
        "running": sandbox.state().await?.status,
    }))
}

/// The types of the events to the end.
async fn kinds(events: Events) -> Result<Vec<&'static str>, Error> {
    let kind = async |event| {
        Ok(match event {
            LogEvent::Stdout(_) => "stdout",
            LogEvent::Exit { .. } => "exit",
            LogEvent::Build(_) => "build",
            _ => "another",
        })
    };
    events.and_then(kind).try_collect().await
}
