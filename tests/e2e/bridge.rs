//! A real client of Cloudflare's HTTP bridge, unmodified: `CloudflareSandboxClient` of `openai-agents` (PyPI).

use std::path::Path;
use std::time::Duration;

use crate::harness::Dev;
use crate::harness::python::{self, Python};

/// What the client's shapes were read from.
const CLIENT: &str = "openai-agents[cloudflare]==0.24.0";

const RUNS_WITHIN: Duration = Duration::from_mins(5);

#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn the_client_of_openai_agents_creates_runs_reads_writes_types_persists_and_deletes() {
    let python = Python::with(CLIENT).await;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/bridge.py");
    let mut client = python.command("python");
    client.arg(script).arg(Dev::shared().url());
    let said = python::run(client, RUNS_WITHIN).await;
    assert!(said.contains("bridge: ok"), "{said}");
}
