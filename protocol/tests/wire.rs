//! Every type against golden JSON. The files are added to and never edited: a client of an earlier version
//! still reads what we write, and we still read what it writes.

use std::path::Path;

use sandbox_protocol::build::{Build, BuildRequest};
use sandbox_protocol::error::ErrorBody;
use sandbox_protocol::exec::{ExecError, ExecExit, ExecRequest, ExecResult};
use sandbox_protocol::file::Listing;
use sandbox_protocol::limit::LimitList;
use sandbox_protocol::log::{LogEvent, Logs};
use sandbox_protocol::process::{
    KillAllReceipt, KillReceipt, KillRequest, Process, ProcessRequest, Stats,
};
use sandbox_protocol::ready::{ConditionRequest, Met};
use sandbox_protocol::sandbox::{
    EventList, OptionsRequest, Receipt, Sandbox, SandboxList, ScopeEvent,
};
use sandbox_protocol::service::ServiceHealth;
use sandbox_protocol::terminal::{TerminalEvent, TerminalRequest};
use sandbox_protocol::ticket::Ticket;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

fn golden(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/wire/{name}.json"));
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Reads the golden file as `T` and writes it again: nothing may be lost, added or renamed.
fn check<T: Serialize + DeserializeOwned>(name: &str) {
    let golden = golden(name);
    let read: T =
        serde_json::from_value(golden.clone()).unwrap_or_else(|error| panic!("{name}: {error}"));
    let written = serde_json::to_value(&read).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(written, golden, "{name}");
}

#[test]
fn answers_are_written_as_they_always_were() {
    check::<Process>("process");
    check::<Process>("process-ended");
    check::<KillReceipt>("kill-receipt");
    check::<KillAllReceipt>("kill-all-receipt");
    check::<Logs>("logs");
    check::<Met>("met-port");
    check::<Met>("met-log");
    check::<Met>("met-exit");
    check::<Met>("met-all");
    check::<Met>("met-any");
    check::<Stats>("stats");
    check::<ExecResult>("exec-result");
    check::<Build>("build");
    check::<Sandbox>("sandbox");
    check::<Sandbox>("sandbox-stopped");
    check::<SandboxList>("sandboxes");
    check::<ScopeEvent>("scope");
    check::<Receipt>("receipt");
    check::<EventList>("events");
    check::<Ticket>("ticket");
    check::<Listing>("listing");
    check::<LimitList>("limits");
    check::<ServiceHealth>("health");
    check::<ExecExit>("exec-event-exit");
    check::<ExecError>("exec-event-error");
    check::<ErrorBody>("error");
    check::<ErrorBody>("error-ready");
}

#[test]
fn messages_of_a_terminal_are_written_as_they_always_were() {
    for name in ["ready", "exit", "error"] {
        check::<TerminalEvent>(&format!("terminal-{name}"));
    }
    check::<TerminalRequest>("terminal-resize");
}

#[test]
fn events_are_written_as_they_always_were() {
    for name in [
        "stdout",
        "stderr-base64",
        "truncated",
        "restart",
        "exit",
        "build",
    ] {
        check::<LogEvent<'static>>(&format!("event-{name}"));
    }
}

#[test]
fn requests_are_read_as_they_always_were() {
    check::<ProcessRequest>("process-request");
    check::<BuildRequest>("build-request");
    check::<KillRequest>("kill-request");
    check::<ConditionRequest>("wait-port");
    check::<ConditionRequest>("wait-any");
    check::<ExecRequest>("exec-request");
    check::<OptionsRequest>("options");
}

#[test]
fn every_golden_file_is_checked() {
    let source = include_str!("wire.rs");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wire");
    for file in std::fs::read_dir(folder).expect("the folder of golden files") {
        let path = file.expect("a file").path();
        let name = path
            .file_stem()
            .and_then(|name| name.to_str())
            .expect("a name");
        // Some are named in a loop, without what they share.
        let prefixes = ["event-", "terminal-"];
        let short = prefixes.iter().find_map(|prefix| name.strip_prefix(prefix));
        let is_named = |name: &str| source.contains(&format!("\"{name}\""));
        assert!(
            is_named(name) || short.is_some_and(is_named),
            "{name} is checked nowhere"
        );
    }
}
