//! Scripts of `tests/fixtures`, run by the project's own node: clients that are not ours.

use super::within;
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Longer than a script's own limit, which says more.
const RUNS_WITHIN: Duration = Duration::from_mins(3);

/// Runs `tests/fixtures/{name}` to its end; what it printed. Fails the test if the script fails.
pub(crate) async fn run(name: &str, arguments: &[&str]) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(root.join("node_modules/.bin/node"));
    command
        .arg(root.join("tests/fixtures").join(name))
        .args(arguments)
        .env("ARTIFACTS", env!("CARGO_TARGET_TMPDIR"));
    let ended = tokio::task::spawn_blocking(move || command.output());
    let output = within(RUNS_WITHIN, name, ended)
        .await
        .expect("nobody panics there")
        .expect("`make setup` has run");
    let out = String::from_utf8_lossy(&output.stdout);
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{name}: {}\n{out}\n{err}",
        output.status
    );
    out.into_owned()
}

/// The same for a script that prints a JSON value a line.
pub(crate) async fn run_json(name: &str, arguments: &[&str]) -> Vec<Value> {
    let said = run(name, arguments).await;
    let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
    said.lines().map(parse).collect()
}
