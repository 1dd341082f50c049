//! What can be told of processes whose container is gone: answers from the object's records.

use std::rc::Rc;

use sandbox_protocol::error::{ErrorBody, ErrorCode};
use sandbox_protocol::id::ProcessId;
use sandbox_protocol::log::LogQuery;
use sandbox_protocol::process::{KillReceipt, Process, ProcessList, ProcessQuery, Stats};
use sandbox_protocol::ready::{Condition, ConditionRequest, Met};
use sandbox_protocol::request::parse_json;
use sandbox_protocol::sandbox::SandboxStatus;
use worker::wasm_bindgen::JsValue;
use worker::{Request, Response};

use crate::answer::json;
use crate::builds;
use crate::error::Result;
use crate::pass::pass;
use crate::query::query_of;
use crate::router::Call;
use crate::sandbox::{Core, asleep};

/// Passes the call to the supervisor while there is one; answers from the records what it does not know, or where
/// there is none.
pub(crate) async fn or_pass(
    core: &Rc<Core>,
    call: &Call,
    request: &Request,
    body: Option<JsValue>,
) -> Result<Response> {
    let Some(life) = core.running_life().await? else {
        return kept(core, call, request, body).await;
    };
    if is_activity(call, request) {
        core.touch()?;
    }
    let answer = pass(core, &life, request, body.clone()).await?;
    let Some(id) = process_of(call) else {
        return Ok(answer);
    };
    if answer.status_code() == 404
        && let Some(process) = core.records.process(id.as_str())?
    {
        // A container before this one had it, or this one has had so many since that it has forgotten it.
        if process.status.is_final() || Some(&process.boot_id) != life.boot_id.as_ref() {
            return kept(core, call, request, body).await;
        }
    }
    if matches!(call, Call::ForgetProcess(_)) && answer.status_code() < 300 {
        core.records.forget_process(id.as_str())?;
    }
    Ok(answer)
}

/// Whether the call counts as activity; to look is none, but to follow is.
fn is_activity(call: &Call, request: &Request) -> bool {
    match call {
        Call::ListProcesses | Call::GetProcess(_) | Call::Stats(_) => false,
        // What is wrong with the query is for the supervisor to say.
        Call::ProcessLogs(_) => query_of::<LogQuery>(request).is_ok_and(|query| query.follows()),
        _ => true,
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

async fn kept(
    core: &Rc<Core>,
    call: &Call,
    request: &Request,
    body: Option<JsValue>,
) -> Result<Response> {
    match call {
        Call::GetProcess(id) => json(&find(core, id)?),
        Call::ListProcesses => list(core, request),
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
            match builds::logs(core, id, request).await {
                // A build's log is kept; that of another process went with its container.
                Err(error) if error.code == ErrorCode::BuildNotFound => Err(log_is_gone(core)?),
                answered => answered,
            }
        }
        _ => Err(asleep(core)),
    }
}

/// The log was that of a container before the one that runs, or there is none that runs.
fn log_is_gone(core: &Core) -> Result<ErrorBody> {
    let life = core.records.life()?;
    if life.is_none_or(|life| life.status != SandboxStatus::Running) {
        return Ok(asleep(core));
    }
    let error = "the process ran in an earlier container, and its log is gone with that";
    Ok(ErrorBody::new(ErrorCode::SandboxNotRunning, error))
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
    let query: ProcessQuery = query_of(request)?;
    let wanted = query.wanted()?;
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
    let request: ConditionRequest = parse_json(text.as_bytes())?;
    match (request.validate_wait()?.0, process.reason) {
        (Condition::Exit, Some(reason)) => json(&Met::Exit {
            exit_code: process.exit_code,
            signal: process.signal,
            reason,
        }),
        _ => Err(asleep(core)),
    }
}
