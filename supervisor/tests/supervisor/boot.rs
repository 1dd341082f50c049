//! The first moments: the restart mark, and settings that cannot be used.

use std::process::{Command, Stdio};

use crate::harness::{Supervisor, TOKEN};

#[test]
fn a_first_process_that_docker_restarts_leaves_at_once() {
    let before = Supervisor::start();
    // The same state, as in the same container's layer, and a pid namespace, as in a container.
    let restarted = Command::new("unshare")
        .args(["--user", "--map-root-user", "--pid", "--fork"])
        .arg(env!("CARGO_BIN_EXE_sandbox-supervisor"))
        .env("SANDBOX_TOKEN", TOKEN)
        .env("SANDBOX_SOCKET", before.folder().join("another"))
        .env("SANDBOX_STATE", before.folder().join("state"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&restarted.stderr);
    assert_eq!(restarted.status.code(), Some(0), "{said}");
    assert!(said.contains("restarted"), "{said}");
    assert!(restarted.stdout.is_empty(), "it never listens");
}

#[test]
fn a_setting_that_cannot_be_used_is_named_and_the_token_is_not() {
    for (name, value) in [("SANDBOX_PORT", "x"), ("SANDBOX_TOKEN", "too-short")] {
        let refused = Command::new(env!("CARGO_BIN_EXE_sandbox-supervisor"))
            .env_clear()
            .env("SANDBOX_TOKEN", TOKEN)
            .env(name, value)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(2), "{said}");
        assert!(said.contains(name), "{said}");
        assert!(
            !said.contains(TOKEN) && !said.contains("too-short"),
            "{said}"
        );
    }
}
