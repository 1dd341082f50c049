//! Every path and its calls, a file for each chapter of the API.

mod builds;
mod content;
mod files;
mod logs;
mod processes;
mod sandboxes;
mod service;
mod streams;

use serde_json::{Map, Value, json};

use super::operation::Operation;
use super::schemas::Schemas;
use crate::error::ErrorCode;

/// Every call that the Worker answers.
pub(super) fn all(schemas: &mut Schemas) -> Vec<Operation> {
    let chapters = [
        ("service", service::operations(schemas)),
        ("sandboxes", sandboxes::operations(schemas)),
        ("builds", builds::operations(schemas)),
        ("processes", processes::operations(schemas)),
        ("files", files::operations(schemas)),
        ("streams", streams::operations(schemas)),
    ];
    let tagged = chapters.into_iter().flat_map(|(tag, operations)| {
        operations
            .into_iter()
            .map(move |operation| operation.tagged(tag))
    });
    tagged.collect()
}

/// The chapters, in words.
pub(super) fn tags() -> Value {
    json!([
        {"name": "service", "description": "The service itself."},
        {"name": "sandboxes", "description": "State, options, destroy."},
        {"name": "builds", "description": "A command whose sandbox is destroyed at its end, whatever the end."},
        {"name": "processes", "description": "What runs, what it printed, whether it is ready; one-time commands."},
        {"name": "files", "description": "Files below /workspace, and the workspace as a tar archive."},
        {"name": "streams", "description": "Terminals and the ports of services, HTTP and WebSocket."},
    ])
}

/// What a call fails with that asks the container.
const REACHES: &[ErrorCode] = &[
    ErrorCode::ContainerUnavailable,
    ErrorCode::OperationInterrupted,
];

/// What a call fails with that wants a container and does not start one.
const AWAKE: &[ErrorCode] = &[
    ErrorCode::SandboxNotRunning,
    ErrorCode::ContainerUnavailable,
    ErrorCode::OperationInterrupted,
];

/// What a call fails with that starts a program.
const SPAWNS: &[ErrorCode] = &[
    ErrorCode::InvalidCommand,
    ErrorCode::InvalidCwd,
    ErrorCode::PermissionDenied,
    ErrorCode::TooManyProcesses,
    ErrorCode::SpawnFailed,
];

/// The parameters that `path` names, if it does. Each name means the same everywhere.
pub(super) fn parameters(path: &str) -> Map<String, Value> {
    let names = path.split(['{', '}']).skip(1).step_by(2);
    let parameters: Vec<Value> = names.map(parameter).collect();
    let shared = (!parameters.is_empty()).then(|| ("parameters".to_owned(), parameters.into()));
    shared.into_iter().collect()
}

fn parameter(name: &str) -> Value {
    let id = json!({"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"});
    let (description, schema) = match name {
        "sandbox" => (
            "The sandbox: a DNS label of the caller's choice.",
            json!({"type": "string", "pattern": "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"}),
        ),
        "process" => (
            "The process's name here; not the operating system's number.",
            id,
        ),
        "build" => ("The build's name.", id),
        "scope" => ("The `scopeId` of the stream's first event.", id),
        "port" => (
            "The service's port; 9711 is the supervisor's own.",
            json!({
                "type": "integer", "minimum": 1, "maximum": 65_535,
                "not": {"const": crate::routes::SUPERVISOR_PORT},
            }),
        ),
        _ => (
            "The path, absolute but for its leading slash (`workspace/a` is `/workspace/a`). It is \
             percent-decoded once; its slashes may stand as they are.",
            json!({"type": "string", "pattern": r"^[^\x00]+$"}),
        ),
    };
    json!({
        "name": name, "in": "path", "required": true, "description": description, "schema": schema,
    })
}
