//! Programs of `PyPI`, each in a virtual environment of its own.

use super::within;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// It may have to be downloaded.
const INSTALLS_WITHIN: Duration = Duration::from_mins(5);

/// A virtual environment that has one package.
#[derive(Clone)]
pub(crate) struct Python {
    folder: PathBuf,
}

impl Python {
    /// The environment that has `requirement` (`name==version`), made once: another version gets another.
    pub(crate) async fn with(requirement: &'static str) -> Self {
        let made = tokio::task::spawn_blocking(move || Self::make(requirement));
        let made = within(INSTALLS_WITHIN, "an environment for Python", made).await;
        made.expect("it is made")
    }

    fn make(requirement: &str) -> Self {
        let name = requirement.replace(|letter: char| !letter.is_ascii_alphanumeric(), "-");
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let python = Self { folder };
        let complete = python.folder.join("complete");
        if !complete.exists() {
            let mut venv = Command::new("python3");
            venv.args(["-m", "venv", "--clear"]).arg(&python.folder);
            said(
                &mut venv,
                "python3 with its module venv (python3-venv on Debian)",
            );
            let mut install = python.command("python");
            install.args(["-m", "pip", "install", "--quiet", requirement]);
            said(&mut install, requirement);
            std::fs::write(complete, "").expect("target is writable");
        }
        python
    }

    /// A program of the environment: its interpreter, or what a package brought.
    pub(crate) fn command(&self, name: &str) -> Command {
        Command::new(self.folder.join("bin").join(name))
    }
}

/// Runs `command` to its end, and gives what it printed. Fails the test if it fails, or takes longer.
pub(crate) async fn run(mut command: Command, limit: Duration) -> String {
    let what = format!("{command:?}");
    let ended = tokio::task::spawn_blocking(move || said(&mut command, "it"));
    within(limit, &what, ended)
        .await
        .unwrap_or_else(|error| panic!("{what}: {error}"))
}

fn said(command: &mut Command, needed: &str) -> String {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{needed} is needed: {command:?}: {error}"));
    let out = String::from_utf8_lossy(&output.stdout);
    let err = String::from_utf8_lossy(&output.stderr);
    let status = output.status;
    assert!(
        status.success(),
        "{needed} is needed: {command:?}: {status}\n{out}\n{err}"
    );
    out.into_owned()
}
