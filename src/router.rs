//! Method and path to [`Route`]; pure.

mod table;

use sandbox_protocol::error::{ErrorBody, ErrorCode};
use sandbox_protocol::id::{BuildId, PROCESS_ID_RULE, ProcessId, SANDBOX_ID_RULE, SandboxId};
use sandbox_protocol::routes::service_port;

use self::table::CALLS;
use self::table::Meaning::{Of, Plain};

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// `GET /health`.
    Health,
    /// `GET /v1/openapi.json`.
    Document,
    /// `POST /v1/sandbox`.
    CreateSandbox,
    /// `GET /v1/sandbox`.
    ListSandboxes,
    /// Something of one sandbox; answered by its object.
    Sandbox(SandboxId, Call),
}

/// What is asked of one sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// `GET …`: its state.
    State,
    /// `PATCH …`: its options.
    SetOptions,
    /// `DELETE …`.
    Destroy,
    /// `GET …/running`.
    Running,
    /// `GET …/events`.
    Events,
    /// `GET …/limits`.
    Limits,
    /// `POST …/tickets`.
    CreateTicket,
    /// `POST …/builds`.
    StartBuild,
    /// `GET …/builds`.
    ListBuilds,
    /// `GET …/builds/{build}`.
    GetBuild(BuildId),
    /// `DELETE …/builds/{build}`.
    CancelBuild(BuildId),
    /// `GET …/builds/{build}/logs`.
    BuildLogs(BuildId),
    /// `POST …/processes`.
    StartProcess,
    /// `GET …/processes`.
    ListProcesses,
    /// `DELETE …/processes`.
    KillAll,
    /// `GET …/processes/{process}`.
    GetProcess(ProcessId),
    /// `DELETE …/processes/{process}`.
    ForgetProcess(ProcessId),
    /// `POST …/processes/{process}/kill`.
    Kill(ProcessId),
    /// `POST …/processes/{process}/stdin`.
    Stdin(ProcessId),
    /// `POST …/processes/{process}/wait`.
    Wait(ProcessId),
    /// `GET …/processes/{process}/logs`.
    ProcessLogs(ProcessId),
    /// `GET …/processes/{process}/stats`.
    Stats(ProcessId),
    /// `POST …/scope`.
    OpenScope,
    /// `DELETE …/scope/{scope}`.
    CloseScope(ProcessId),
    /// `POST …/exec`.
    Exec,
    /// `GET …/file/…`, `GET …/files/…`.
    ReadFile,
    /// `PUT …/file/…`.
    WriteFile,
    /// `DELETE …/file/…`.
    DeleteFile,
    /// `POST …/persist`.
    Persist,
    /// `POST …/hydrate`.
    Hydrate,
    /// `GET …/pty`, a WebSocket.
    Pty,
    /// Any method of `…/ports/{port}/…`.
    Port(u16),
}

impl Call {
    /// Whether a ticket may stand in for the key: the streams that a browser opens without headers.
    pub(crate) const fn takes_ticket(&self) -> bool {
        matches!(
            self,
            Self::BuildLogs(_) | Self::ProcessLogs(_) | Self::Pty | Self::Port(_)
        )
    }
}

/// Finds the route of `method` and `path` (percent-encoded, as in the URL, without the query).
///
/// The error is `ROUTE_NOT_FOUND`, `METHOD_NOT_ALLOWED` with the methods there are, or
/// `VALIDATION_FAILED` for a bad id, `INVALID_PORT` for a bad port.
pub(crate) fn route(method: &str, path: &str) -> Result<Route, ErrorBody> {
    let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    match segments.as_slice() {
        ["health"] => pick(method, [("GET", Route::Health)]),
        ["v1", "openapi.json"] => pick(method, [("GET", Route::Document)]),
        ["v1", "sandbox"] => pick(
            method,
            [
                ("POST", Route::CreateSandbox),
                ("GET", Route::ListSandboxes),
            ],
        ),
        ["v1", "sandbox", id, rest @ ..] => {
            let id = SandboxId::parse(id).ok_or_else(|| bad_id(SANDBOX_ID_RULE))?;
            let call = call(method, rest)?;
            Ok(Route::Sandbox(id, call))
        }
        _ => Err(not_found()),
    }
}

/// What `method` of the path `rest` below a sandbox means.
fn call(method: &str, rest: &[&str]) -> Result<Call, ErrorBody> {
    if let ["ports", port, ..] = rest {
        return Ok(Call::Port(service_port(port)?));
    }
    let found = CALLS
        .iter()
        .find_map(|(template, methods)| Some((named(template, rest)?, *methods)));
    let (name, methods) = found.ok_or_else(not_found)?;
    let choices = methods.iter().map(|(method, meaning)| (*method, meaning));
    match pick(method, choices)? {
        Plain(call) => Ok(call.clone()),
        Of(call) => ProcessId::parse(name)
            .map(call)
            .ok_or_else(|| bad_id(PROCESS_ID_RULE)),
    }
}

/// Whether `rest` is a path of `template`, and if it is what it has in the place of `{id}`; nothing if it has none.
fn named<'a>(template: &str, rest: &[&'a str]) -> Option<&'a str> {
    let mut name = "";
    let mut rest = rest.iter();
    for part in template.split('/').filter(|part| !part.is_empty()) {
        match (part, rest.next()) {
            ("{path}", _) => return Some(name),
            ("{id}", Some(text)) => name = *text,
            (part, Some(text)) if part == *text => {}
            _ => return None,
        }
    }
    rest.next().is_none().then_some(name)
}

fn pick<T>(
    method: &str,
    choices: impl IntoIterator<Item = (&'static str, T)> + Clone,
) -> Result<T, ErrorBody> {
    let found = choices
        .clone()
        .into_iter()
        .find(|(name, _)| *name == method);
    found.map(|(_, choice)| choice).ok_or_else(|| {
        let allow: Vec<String> = choices
            .into_iter()
            .map(|(name, _)| name.to_owned())
            .collect();
        ErrorBody::new(
            ErrorCode::MethodNotAllowed,
            format!("{method} is not allowed here; {} is", allow.join(", ")),
        )
        .with(|context| context.allow = Some(allow))
    })
}

/// The part of `path` that the supervisor knows: what comes after the sandbox's id.
pub(crate) fn supervisor_path(path: &str) -> &str {
    let mut rest = path;
    for _ in 0..4 {
        rest = rest.find('/').map_or("", |slash| &rest[slash + 1..]);
    }
    let start = path.len() - rest.len();
    path.get(start.saturating_sub(1)..).unwrap_or("/")
}

fn not_found() -> ErrorBody {
    ErrorBody::new(ErrorCode::RouteNotFound, "there is no such route")
}

fn bad_id(rule: &str) -> ErrorBody {
    ErrorBody::new(ErrorCode::ValidationFailed, rule)
}

#[cfg(test)]
mod tests;
