//! The document that the Worker serves: it is what the types say, and the schemas in it take what is on the wire
//! and nothing else.

use std::path::Path;

use sandbox_protocol::openapi::{document, text};
use serde_json::{Value, json};

#[test]
fn the_file_that_is_served_is_what_the_types_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi.json");
    let served = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        served == text(),
        "{} is out of date: run `make openapi`",
        path.display()
    );
}

/// Whether `value` is what the schema `name` describes.
fn takes(name: &str, value: &Value) -> Result<(), String> {
    let mut schema = document();
    schema["$ref"] = json!(format!("#/components/schemas/{name}"));
    let validator = jsonschema::draft202012::options()
        .should_validate_formats(true)
        .build(&schema)
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    let errors: Vec<String> = validator
        .iter_errors(value)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    if errors.is_empty() {
        Ok(())
    } else {
        Err(errors.join("\n"))
    }
}

/// The schema that each golden file is an example of, by the beginning of its name.
const SCHEMAS: &[(&str, &str)] = &[
    ("build-request", "BuildRequest"),
    ("build", "Build"),
    ("error", "ErrorBody"),
    ("event-", "LogEvent"),
    ("events", "EventList"),
    ("exec-event-error", "ExecError"),
    ("exec-event-exit", "ExecExit"),
    ("exec-request", "ExecRequest"),
    ("exec-result", "ExecResult"),
    ("health", "ServiceHealth"),
    ("kill-all-receipt", "KillAllReceipt"),
    ("kill-receipt", "KillReceipt"),
    ("kill-request", "KillRequest"),
    ("limits", "LimitList"),
    ("listing", "Listing"),
    ("logs", "Logs"),
    ("met-", "Met"),
    ("options", "OptionsRequest"),
    ("process-request", "ProcessRequest"),
    ("process", "Process"),
    ("receipt", "Receipt"),
    ("sandboxes", "SandboxList"),
    ("sandbox", "Sandbox"),
    ("scope", "ScopeEvent"),
    ("stats", "Stats"),
    ("terminal-resize", "TerminalRequest"),
    ("terminal-", "TerminalEvent"),
    ("ticket", "Ticket"),
    ("wait-", "WaitRequest"),
];

#[test]
fn every_golden_file_is_what_its_schema_describes() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wire");
    for file in std::fs::read_dir(folder).expect("the folder of golden files") {
        let path = file.expect("a file").path();
        let name = path
            .file_stem()
            .and_then(|name| name.to_str())
            .expect("a name");
        let schema = SCHEMAS.iter().find(|(start, _)| name.starts_with(start));
        let (_, schema) = schema.unwrap_or_else(|| panic!("{name} has no schema"));
        let text = std::fs::read_to_string(&path).expect("a readable file");
        let golden = serde_json::from_str(&text).expect("JSON");
        takes(schema, &golden).unwrap_or_else(|error| panic!("{name} is no {schema}: {error}"));
    }
}

#[test]
fn a_request_that_validate_refuses_is_not_what_its_schema_describes() {
    for (schema, bad) in [
        ("ProcessRequest", json!({})),
        ("ProcessRequest", json!({"command": "a", "argv": ["a"]})),
        ("ProcessRequest", json!({"command": " "})),
        ("ProcessRequest", json!({"command": "a\0b"})),
        ("ProcessRequest", json!({"command": null})),
        ("ProcessRequest", json!({"argv": []})),
        ("ProcessRequest", json!({"argv": [""]})),
        ("ProcessRequest", json!({"command": "a", "env": {"A": 1}})),
        (
            "ProcessRequest",
            json!({"command": "a", "env": {"A=B": "1"}}),
        ),
        (
            "ProcessRequest",
            json!({"command": "a", "limits": {"logBytes": 0}}),
        ),
        ("ProcessRequest", json!({"command": "a", "timeoutMs": -1})),
        ("ProcessRequest", json!({"command": "a", "id": "a/b"})),
        ("ProcessRequest", json!({"command": "a", "nope": 1})),
        (
            "ProcessRequest",
            json!({"command": "a", "restart": {"policy": "sometimes"}}),
        ),
        (
            "ProcessRequest",
            json!({"command": "a", "ready": {"port": 80, "timeoutMs": 5}}),
        ),
        ("BuildRequest", json!({"command": "a", "timeoutMs": 0})),
        (
            "BuildRequest",
            json!({"command": "a", "until": {"log": "x", "regex": "y"}}),
        ),
        ("BuildRequest", json!({"command": "a", "until": {}})),
        (
            "ExecRequest",
            json!({"command": "a", "timeoutMs": 1, "timeout_ms": 1}),
        ),
        ("KillRequest", json!({"signal": "SIGNOPE"})),
        ("KillRequest", json!({"signal": 65})),
        ("KillRequest", json!({"graceMs": -1})),
        ("OptionsRequest", json!({"sleepAfter": "10"})),
        ("OptionsRequest", json!({"sleepAfter": 0})),
        ("OptionsRequest", json!({"keepAlive": "yes"})),
        ("OptionsRequest", json!({"keepAlive": {"maxMs": 0}})),
        ("WaitRequest", json!({})),
        ("WaitRequest", json!({"port": 0})),
        ("WaitRequest", json!({"port": 80, "log": "x"})),
        ("WaitRequest", json!({"port": 80, "stream": "stdout"})),
        ("WaitRequest", json!({"log": "x", "path": "/"})),
        ("WaitRequest", json!({"exit": false})),
        ("WaitRequest", json!({"all": []})),
        (
            "WaitRequest",
            json!({"any": [{"exit": true, "timeoutMs": 5}]}),
        ),
        (
            "TerminalRequest",
            json!({"type": "resize", "cols": 0, "rows": 1}),
        ),
    ] {
        assert!(takes(schema, &bad).is_err(), "{schema} takes {bad}");
    }
}

#[test]
fn an_answer_without_what_it_always_has_is_not_what_its_schema_describes() {
    for (schema, name, field) in [
        ("Process", "process", "exitCode"),
        ("Build", "build", "reason"),
        ("Sandbox", "sandbox", "keepAlive"),
        ("ErrorBody", "error", "code"),
        ("LogEvent", "event-exit", "data"),
        ("KillReceipt", "kill-receipt", "survivors"),
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/wire/{name}.json"));
        let text = std::fs::read_to_string(path).expect("a golden file");
        let mut golden: Value = serde_json::from_str(&text).expect("JSON");
        let fields = golden.as_object_mut().expect("an object");
        // What may be absent is never null; what is always there may not be absent.
        if field == "reason" {
            fields.insert(field.to_owned(), Value::Null);
        } else {
            fields.remove(field);
        }
        assert!(
            takes(schema, &golden).is_err(),
            "{schema} goes without {field}"
        );
    }
}
