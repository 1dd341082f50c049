//! Processes and one-time commands.

use serde_json::json;

use super::super::operation::Operation;
use super::super::schemas::Schemas;
use super::content::{bytes, json_text, named_events};
use super::logs::log;
use super::{AWAKE, REACHES, SPAWNS};
use crate::error::{ErrorBody, ErrorCode};
use crate::exec::{ExecError, ExecExit, ExecRequest, ExecResult};
use crate::process::{
    KillAllReceipt, KillReceipt, KillRequest, Process, ProcessList, ProcessQuery, ProcessRequest,
    Stats, StdinQuery, StdinReceipt,
};
use crate::ready::{ConditionRequest, Met};

const ALL: &str = "/v1/sandbox/{sandbox}/processes";
const ONE: &str = "/v1/sandbox/{sandbox}/processes/{process}";
const KILL: &str = "/v1/sandbox/{sandbox}/processes/{process}/kill";
const STDIN: &str = "/v1/sandbox/{sandbox}/processes/{process}/stdin";
const WAIT: &str = "/v1/sandbox/{sandbox}/processes/{process}/wait";
const LOGS: &str = "/v1/sandbox/{sandbox}/processes/{process}/logs";
const STATS: &str = "/v1/sandbox/{sandbox}/processes/{process}/stats";
const EXEC: &str = "/v1/sandbox/{sandbox}/exec";

/// What a wait fails with.
const UNMET: &[ErrorCode] = &[
    ErrorCode::ProcessReadyTimeout,
    ErrorCode::ProcessExitedBeforeReady,
];

pub(super) fn operations(schemas: &mut Schemas) -> Vec<Operation> {
    let mut operations = all(schemas);
    operations.extend(one(schemas));
    operations.push(wait(schemas));
    operations.push(execute(schemas));
    operations
}

fn all(schemas: &mut Schemas) -> Vec<Operation> {
    let process = schemas.answer::<Process>();
    vec![
        Operation::new("post", ALL, "startProcess", "Start one")
            .described(
                "With an `id` of the caller's choice the call is idempotent. With `ready` the answer waits until \
                 it is; where it never is, the process is left for the caller to inspect.",
            )
            .json_body(&schemas.request::<ProcessRequest>(), true)
            .json("201", "It was started.", &process)
            .json("200", "The same request started it before, and it runs.", &process)
            .fails(&[ErrorCode::InvalidPort, ErrorCode::ProcessAlreadyExists])
            .fails(UNMET)
            .fails(SPAWNS)
            .fails(REACHES),
        Operation::new("get", ALL, "listProcesses", "What runs and what ran")
            .parameters(schemas.query::<ProcessQuery>())
            .json("200", "Oldest first.", &schemas.answer::<ProcessList>())
            .fails(REACHES),
        Operation::new("delete", ALL, "killAllProcesses", "End every process, at once")
            .json("200", "How many, and who lives on.", &schemas.answer::<KillAllReceipt>())
            .fails(REACHES),
    ]
}

fn one(schemas: &mut Schemas) -> Vec<Operation> {
    let receipt = schemas.answer::<KillReceipt>();
    let known = &[ErrorCode::ProcessNotFound];
    vec![
        Operation::new("get", ONE, "getProcess", "A process")
            .json("200", "As of now.", &schemas.answer::<Process>())
            .fails(known)
            .fails(REACHES),
        Operation::new(
            "delete",
            ONE,
            "forgetProcess",
            "End a process, and forget it",
        )
        .json("200", "The proof of the kill.", &receipt)
        .fails(known)
        .fails(&[ErrorCode::KillIncomplete])
        .fails(REACHES),
        Operation::new(
            "post",
            KILL,
            "killProcess",
            "Signal a whole tree, and end what is left of it",
        )
        .described(
            "The answer comes when the tree is gone. What is gone already is 200 with empty lists.",
        )
        .json_body(&schemas.request::<KillRequest>(), false)
        .json("200", "The proof of the kill.", &receipt)
        .fails(known)
        .fails(&[ErrorCode::KillIncomplete])
        .fails(REACHES),
        Operation::new("post", STDIN, "writeStdin", "Send it input")
            .parameters(schemas.query::<StdinQuery>())
            .body(&bytes("application/octet-stream"), false)
            .json(
                "200",
                "How much its pipe took.",
                &schemas.answer::<StdinReceipt>(),
            )
            .fails(known)
            .fails(&[ErrorCode::StdinClosed])
            .fails(AWAKE),
        log(
            Operation::new("get", LOGS, "getProcessLogs", "What it printed, and prints")
                .fails(known),
            schemas,
        ),
        Operation::new("get", STATS, "getStats", "What its tree has used")
            .json(
                "200",
                "Null where the kernel refuses.",
                &schemas.answer::<Stats>(),
            )
            .fails(known)
            .fails(REACHES),
    ]
}

fn wait(schemas: &mut Schemas) -> Operation {
    let condition = schemas.request::<ConditionRequest>();
    let request = schemas.derive("WaitRequest", &condition, |schema| {
        schema["properties"]["timeoutMs"] = json!({
            "description": "How long to wait, in milliseconds; 60000 by default.",
            "type": ["integer", "null"],
            "minimum": 0,
            "maximum": crate::process::MAX_DURATION_MS,
        });
    });
    let (met, error) = (schemas.answer::<Met>(), schemas.answer::<ErrorBody>());
    let forms = json!({
        "application/json": {"schema": met},
        "text/event-stream": named_events(&[("met", json_text(&met)), ("error", json_text(&error))]),
    });
    Operation::new("post", WAIT, "waitForProcess", "Wait until it is ready, or until it cannot be")
        .described(
            "As server-sent events the answer is one event, `met` or `error`, with comments before it. A wait that \
             runs out of time leaves the process as it is.",
        )
        .json_body(&request, true)
        .answers("200", "What was met.", &forms)
        .fails(&[ErrorCode::ProcessNotFound, ErrorCode::InvalidPort])
        .fails(UNMET)
        .fails(AWAKE)
}

fn execute(schemas: &mut Schemas) -> Operation {
    let output = json!({"contentEncoding": "base64"});
    let kinds = [
        ("stdout", output.clone()),
        ("stderr", output),
        ("exit", json_text(&schemas.answer::<ExecExit>())),
        ("error", json_text(&schemas.answer::<ExecError>())),
    ];
    let forms = json!({
        "text/event-stream": named_events(&kinds),
        "application/json": {"schema": schemas.answer::<ExecResult>()},
    });
    Operation::new("post", EXEC, "exec", "Run one command, its output in the answer")
        .described(
            "Events `stdout` and `stderr` (base64), then `exit` or `error`; or one JSON object, by `Accept`. \
             Fields that are not known are ignored, as Cloudflare's bridge does.",
        )
        .json_body(&schemas.request::<ExecRequest>(), true)
        .answers("200", "What it printed and how it ended.", &forms)
        .fails(&[ErrorCode::KillIncomplete])
        .fails(SPAWNS)
        .fails(REACHES)
}
