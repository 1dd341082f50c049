//! A real client of Cloudflare's HTTP bridge, unmodified: `CloudflareSandboxClient` of `openai-agents` (PyPI).

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use crate::harness::{Dev, within};

/// What the client's shapes were read from; another version gets an environment of its own.
const CLIENT: &str = "openai-agents[cloudflare]==0.24.0";

/// It may have to be downloaded.
const INSTALLS_WITHIN: Duration = Duration::from_mins(5);
const RUNS_WITHIN: Duration = Duration::from_mins(5);

#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn the_client_of_openai_agents_creates_runs_reads_writes_types_persists_and_deletes() {
    let install = tokio::task::spawn_blocking(python);
    let python = within(INSTALLS_WITHIN, "an environment for Python", install).await;
    let python = python.expect("it is made");
    let url = Dev::shared().url();
    let run = tokio::task::spawn_blocking(move || {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/bridge.py");
        said(Command::new(python).arg(script).arg(url))
    });
    let said = within(RUNS_WITHIN, "the client", run)
        .await
        .expect("it runs");
    assert!(said.contains("bridge: ok"), "{said}");
}

/// The interpreter of an environment that has the client; made once.
fn python() -> PathBuf {
    let name = CLIENT.replace(|letter: char| !letter.is_ascii_alphanumeric(), "-");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let python = folder.join("bin/python");
    let complete = folder.join("complete");
    if !complete.exists() {
        said(
            Command::new("python3")
                .args(["-m", "venv", "--clear"])
                .arg(&folder),
        );
        said(Command::new(&python).args(["-m", "pip", "install", "--quiet", CLIENT]));
        std::fs::write(complete, "").expect("target is writable");
    }
    python
}

/// What `command` printed; fails the test if it does.
fn said(command: &mut Command) -> String {
    let Output {
        status,
        stdout,
        stderr,
    } = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let (out, err) = (
        String::from_utf8_lossy(&stdout),
        String::from_utf8_lossy(&stderr),
    );
    assert!(status.success(), "{command:?}: {status}\n{out}\n{err}");
    out.into_owned()
}
