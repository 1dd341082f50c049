//! A Worker of your own that runs services in a sandbox: the guide's "Run multiple processes", with a real Redis.
//!
//! - `POST /up/{id}` starts Redis, and when it is ready an API that needs it; tells what runs.
//! - any `/api/{id}/{path}` asks the API: `/visits` counts visits in Redis.
//! - `GET /logs/{id}` follows the logs of both as plain text, until both have ended.
//! - `POST /down/{id}` ends the API, then Redis, and destroys the sandbox; tells what ran after each step.
//!
//! From the project's root, and then from another terminal:
//!
//! ```sh
//! CONFIG=examples/services/wrangler.toml make dev
//!
//! curl -X POST http://localhost:8787/up/demo
//! curl http://localhost:8787/api/demo/visits
//! curl -N http://localhost:8787/logs/demo &
//! curl -X POST http://localhost:8787/down/demo
//! ```

use futures::stream::select;
use futures::{StreamExt, TryStreamExt};
use serde_json::{Value, json};
use worker::{Context, Env, Method, Request, Response, event};
use workers_sandbox::{
    Error, Events, LogEvent, PortCheck, ProcessOptions, SandboxHandle, SandboxOptions, Signal,
    get_sandbox,
};

/// The API's program, which goes into the sandbox as a file.
const API: &str = include_str!("../api.mjs");

/// The services, in the order in which they start.
const REDIS: &str = "redis";
const API_SERVER: &str = "api";

#[event(fetch)]
async fn fetch(request: Request, env: Env, _context: Context) -> worker::Result<Response> {
    let path = request.path();
    let mut parts = path.trim_start_matches('/').splitn(3, '/');
    let (what, id) = (
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
    );
    let rest = parts.next().unwrap_or_default();
    let options = SandboxOptions::new().keep_alive(true);
    let sandbox = get_sandbox(&env, "SANDBOX", id, options)?;
    let ports = Ports::of(&env)?;
    match (request.method(), what) {
        (Method::Post, "up") => Response::from_json(&up(&sandbox, ports).await?),
        (Method::Get, "logs") => logs(&sandbox).await,
        (Method::Post, "down") => Response::from_json(&down(&sandbox).await?),
        (_, "api") => Ok(sandbox.fetch_port_at(ports.api, rest, request).await?),
        _ => Response::error(
            "POST /up, any /api, GET /logs, POST /down: each with /{id}",
            404,
        ),
    }
}

/// Where the services listen.
#[derive(Clone, Copy)]
struct Ports {
    redis: u16,
    api: u16,
}

impl Ports {
    fn of(env: &Env) -> worker::Result<Self> {
        let port = |name: &str| {
            let value = env.var(name)?.to_string();
            let wrong = |error| worker::Error::from(format!("{name}: {error}"));
            value.parse().map_err(wrong)
        };
        Ok(Self {
            redis: port("REDIS_PORT")?,
            api: port("API_PORT")?,
        })
    }
}

/// Starts the database, waits until it takes connections, then starts what depends on it.
async fn up(sandbox: &SandboxHandle, ports: Ports) -> Result<Value, Error> {
    let redis = sandbox
        .start_process(
            &format!(
                "exec redis-server --bind 127.0.0.1 --port {} --save ''",
                ports.redis
            ),
            ProcessOptions::new().id(REDIS),
        )
        .await?;
    redis.wait_for_port(ports.redis, PortCheck::tcp()).await?;
    let line = redis
        .wait_for_log("Ready to accept connections")
        .await?
        .line;

    sandbox.write_file("/workspace/api.mjs", API).await?;
    let api = sandbox
        .start_process(
            "exec node api.mjs",
            ProcessOptions::new()
                .id(API_SERVER)
                .env("PORT", ports.api.to_string())
                .env("REDIS_PORT", ports.redis.to_string()),
        )
        .await?;
    api.wait_for_port(ports.api, PortCheck::http("/health"))
        .await?;
    Ok(json!({"redis": line, "running": running(sandbox).await?}))
}

/// What both print, as it is printed.
async fn logs(sandbox: &SandboxHandle) -> worker::Result<Response> {
    let redis = sandbox.stream_process_logs(REDIS).await?;
    let api = sandbox.stream_process_logs(API_SERVER).await?;
    let both = select(named(REDIS, redis), named(API_SERVER, api));
    Response::from_stream(both.map_ok(String::into_bytes).map_err(worker::Error::from))
}

fn named(name: &'static str, events: Events) -> impl futures::Stream<Item = Result<String, Error>> {
    events.map(move |event| {
        Ok(match event? {
            LogEvent::Stdout(output) | LogEvent::Stderr(output) => {
                let lines = output.data.lines();
                lines.map(|line| format!("{name}: {line}\n")).collect()
            }
            LogEvent::Exit { data, .. } => format!("{name}: {data}\n"),
            _ => String::new(),
        })
    })
}

/// Ends the services in the reverse order: nobody loses what it depends on.
async fn down(sandbox: &SandboxHandle) -> Result<Value, Error> {
    let mut steps = Vec::new();
    for id in [API_SERVER, REDIS] {
        let receipt = sandbox.kill_process(id, Signal::Term).await?;
        steps.push(json!({
            "killed": id,
            "reason": receipt.process.reason,
            "survivors": receipt.survivors.len(),
            "running": running(sandbox).await?,
        }));
    }
    let receipt = sandbox.destroy().await?;
    Ok(json!({"steps": steps, "containerDestroyed": receipt.container_destroyed}))
}

/// The names of the processes that run.
async fn running(sandbox: &SandboxHandle) -> Result<Vec<String>, Error> {
    let all = sandbox.list_processes().await?;
    let alive = all.iter().filter(|process| !process.info.status.is_final());
    Ok(alive.map(|process| process.id().to_owned()).collect())
}
