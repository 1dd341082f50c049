//! The document of the API: that it is `OpenAPI`, that it is served, and that the API does what it says.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper::Method;
use serde_json::{Value, json};

use crate::harness::python::{self, Python};
use crate::harness::{Answer, Call, Dev, Setup};

const SCHEMATHESIS: &str = "schemathesis==4.32.5";
const VALIDATOR: &str = "openapi-spec-validator==0.9.0";

/// It makes some thousand requests.
const RUNS_WITHIN: Duration = Duration::from_mins(15);

const KEY: &str = "a-key-of-the-test";
const PORT: u16 = 18_461;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn document() -> PathBuf {
    root().join("protocol/openapi.json")
}

fn with_a_key() -> Dev {
    Dev::start(&Setup {
        vars: &[("SANDBOX_ANONYMOUS", "false"), ("SANDBOX_API_KEY", KEY)],
        ..Setup::DEFAULT
    })
}

fn keyed(call: Call) -> Call {
    call.header("Authorization", &format!("Bearer {KEY}"))
}

#[tokio::test]
#[ignore = "installs packages: run by make test"]
async fn a_validator_that_is_not_ours_takes_the_document_for_openapi() {
    let mut validator = Python::with(VALIDATOR)
        .await
        .command("openapi-spec-validator");
    validator.arg(document());
    python::run(validator, RUNS_WITHIN).await;
}

#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn the_document_is_served_as_json() {
    let answer = Dev::shared().get("/v1/openapi.json").send().await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.header("Content-Type"), "application/json");
    let file = std::fs::read_to_string(document()).expect("the document");
    assert_eq!(answer.text().await, file);
}

/// `make test` leaves it out on Docker, where each of its hundreds of builds is a container of its own.
#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn schemathesis_finds_nothing_that_the_document_does_not_say() {
    let dev = with_a_key();
    let tool = Python::with(SCHEMATHESIS).await;
    assert_eq!(
        dev.get("/v1/openapi.json").send().await.status(),
        401,
        "the document wants the key"
    );
    let made = make(&dev).await;
    let folder = root().join("tests/fixtures/openapi");
    let mut command = tool.command("schemathesis");
    command
        .args(["--no-color", "--config-file", "schemathesis.toml", "run"])
        .arg(document())
        .args(["--url", &dev.url()])
        .env("SANDBOX_API_KEY", KEY)
        .env("MADE", made.to_string())
        .env("HYPOTHESIS_STORAGE_DIRECTORY", env!("CARGO_TARGET_TMPDIR"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .current_dir(folder);
    let said = python::run(command, RUNS_WITHIN).await;
    println!("{said}");
    for name in [
        "kept",
        "built",
        "building",
        "destroyed",
        "emptied",
        "scoped",
    ] {
        let path = format!("/v1/sandbox/{name}");
        let destroyed = keyed(dev.delete(&path)).send().await;
        assert_eq!(destroyed.status(), 204, "{name}");
    }
}

/// The few things that every request is about, so that it finds something: processes that run and that ran, a
/// build, a file, a service.
async fn make(dev: &Dev) -> Value {
    let service = std::fs::read_to_string(root().join("tests/fixtures/openapi/service.py"));
    let put = dev.put("/v1/sandbox/kept/file/workspace/service.py");
    let written = keyed(put).body(service.expect("the service")).send().await;
    assert_eq!(written.status(), 200, "{}", written.text().await);
    let emptied = json!({"command": "sleep 1000"});
    let started = post(dev, "emptied/processes", &emptied).await;
    assert_eq!(started.status(), 201, "{}", started.text().await);
    let port = PORT.to_string();
    for request in [
        json!({"id": "ended", "command": "echo out; echo err >&2", "ready": {"exit": true}}),
        json!({"id": "reader", "command": "cat", "stdin": "pipe"}),
        json!({"id": "victim", "command": "sleep 1000"}),
        json!({"id": "service", "argv": ["python3", "service.py", port], "ready": {"port": PORT}}),
    ] {
        let started = post(dev, "kept/processes", &request).await;
        let kind = started.header("Content-Type").to_owned();
        let told = (started.status(), kind, started.text().await);
        assert_eq!(
            (told.0, told.1.as_str()),
            (201, "application/json"),
            "{told:?}"
        );
    }
    let build = post(dev, "built/builds", &json!({"command": "echo built"})).await;
    let build = build.header("Sandbox-Build-Id").to_owned();
    // The record is final when the stream of the build has ended.
    let log = format!("built/builds/{build}/logs");
    get(dev, &format!("{log}?follow=true"), "text/event-stream")
        .await
        .text()
        .await;
    let build_log = get(dev, &log, "application/json").await.json().await;
    let log = get(dev, "kept/processes/ended/logs", "application/json")
        .await
        .json()
        .await;
    json!({
        "build": build,
        "port": PORT,
        "logs": {"getProcessLogs": log["cursor"], "getBuildLogs": build_log["cursor"]},
    })
}

async fn post(dev: &Dev, path: &str, request: &Value) -> Answer {
    let call = dev.call(Method::POST, &format!("/v1/sandbox/{path}"));
    keyed(call).json(request).send().await
}

async fn get(dev: &Dev, path: &str, accept: &str) -> Answer {
    let call = dev.get(&format!("/v1/sandbox/{path}"));
    keyed(call).header("Accept", accept).send().await
}
