//! What can be told of processes whose container is gone: answers from the object's records.

use std::rc::Rc;

use sandbox_protocol::error::{ErrorBody, ErrorCode};
use sandbox_protocol::id::ProcessId;
use sandbox_protocol::process::{KillReceipt, Process, ProcessList, ProcessStatus, Stats};
use sandbox_protocol::ready::{Condition, ConditionRequest, Met};
use sandbox_protocol::request::{invalid, parse};
use worker::wasm_bindgen::JsValue;
use worker::{Request, Response};

use crate::answer::json;
use crate::builds;
use crate::error::{Result, internal};
use crate::pass::{active, pass};
use crate::router::Call;
use crate::sandbox::{Core, asleep};

/// Passes the call to the supervisor while there is one that knows the process; else answers from the
/// records.
pub(crate) async fn or_pass(
    core: &Rc<Core>,
    call: &Call,
    request: Request,
    body: Option<JsValue>,
) -> Result<Response> {
    let life = core.running_life().await?;
    let known_here = match (process_of(call), &life) {
        (Some(id), Some(life)) => !is_of_earlier_life(core, id, life.generation)?,
        (None, Some(_)) => true,
        (_, None) => false,
    };
    match life {
        Some(life) if known_here => match call {
            Call::ListProcesses | Call::GetProcess(_) | Call::Stats(_) => {
                pass(core, &life, request, body).await
            }
            _ => active(core, &life, request, body).await,
        },
        _ => kept(core, call, request, body).await,
    }
}

fn process_of(call: &Call) -> Option<&ProcessId> {
    match call {
        Call::GetProcess(id)
        | Call::ForgetProcess(id)
        | Call::Kill(id)
        | Call::Wait(id)
        | Call::ProcessLogs(id)
        | Call::Stats(id) => Some(id),
        _ => None,
    }
}

/// Whether the records hold `id` from a container before this one. The supervisor knows what is newer.
fn is_of_earlier_life(core: &Core, id: &ProcessId, generation: u64) -> Result<bool> {
    let kept = core.records.process_generation(id.as_str())?;
    Ok(kept.is_some_and(|kept| kept < generation))
}

async fn kept(
    core: &Rc<Core>,
    call: &Call,
    request: Request,
    body: Option<JsValue>,
) -> Result<Response> {
    match call {
        Call::GetProcess(id) => json(&find(core, id)?),
        Call::ListProcesses => list(core, &request),
        Call::Stats(id) => {
            find(core, id)?;
            json(&Stats {
                rss_bytes: Some(0),
                threads: Some(0),
                processes: Some(0),
                ..Stats::default()
            })
        }
        Call::Kill(id) => json(&nothing_killed(find(core, id)?)),
        Call::ForgetProcess(id) => {
            let process = find(core, id)?;
            core.records.forget_process(id.as_str())?;
            json(&nothing_killed(process))
        }
        Call::Wait(id) => wait(core, &find(core, id)?, body),
        Call::ProcessLogs(id) => {
            find(core, id)?;
            builds::logs(core, id, request)
                .await
                .map_err(|error| match error.code {
                    // A build's log is kept; that of another process went with its container.
                    ErrorCode::BuildNotFound => asleep(core),
                    _ => error,
                })
        }
        _ => Err(asleep(core)),
    }
}

fn find(core: &Core, id: &ProcessId) -> Result<Process> {
    core.records.process(id.as_str())?.ok_or_else(|| {
        ErrorBody::new(
            ErrorCode::ProcessNotFound,
            format!("no process {id} is known"),
        )
        .with(|context| context.process_id = Some(id.to_string()))
    })
}

fn list(core: &Core, request: &Request) -> Result<Response> {
    let url = request
        .url()
        .map_err(|error| internal("the URL could not be read", error))?;
    let wanted = url.query_pairs().find(|(name, _)| name == "status");
    let wanted = match &wanted {
        None => None,
        Some((_, text)) => Some(ProcessStatus::from_wire(text).ok_or_else(|| {
            invalid(
                "status",
                "expected starting, running, completed, failed, killed or error",
            )
        })?),
    };
    let mut processes = core.records.processes()?;
    processes.retain(|process| wanted.is_none_or(|wanted| process.status == wanted));
    json(&ProcessList { processes })
}

fn nothing_killed(process: Process) -> KillReceipt {
    KillReceipt {
        process,
        signalled: Vec::new(),
        killed: Vec::new(),
        survivors: Vec::new(),
        took_ms: 0,
    }
}

/// An exit that is on record is met; nothing else can be.
fn wait(core: &Core, process: &Process, body: Option<JsValue>) -> Result<Response> {
    let text = body.and_then(|body| body.as_string()).unwrap_or_default();
    let request: ConditionRequest = parse(&mut serde_json::Deserializer::from_str(&text))?;
    match (request.validate_wait()?.0, process.reason) {
        (Condition::Exit, Some(reason)) => json(&Met::Exit {
            exit_code: process.exit_code,
            signal: process.signal,
            reason,
        }),
        _ => Err(asleep(core)),
    }
}
