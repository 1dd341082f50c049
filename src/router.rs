//! Method and path to [`Route`]; pure.

use sandbox_protocol::error::{ErrorBody, ErrorCode};
use sandbox_protocol::id::{BuildId, PROCESS_ID_RULE, ProcessId, SANDBOX_ID_RULE, SandboxId};
use sandbox_protocol::routes::service_port;

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// `GET /health`.
    Health,
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
        ["health"] => pick(method, vec![("GET", Route::Health)]),
        ["v1", "sandbox"] => pick(
            method,
            vec![
                ("POST", Route::CreateSandbox),
                ("GET", Route::ListSandboxes),
            ],
        ),
        ["v1", "sandbox", id, rest @ ..] => {
            let id = SandboxId::parse(id).ok_or_else(|| bad_id(SANDBOX_ID_RULE))?;
            if let ["ports", port, ..] = rest {
                return Ok(Route::Sandbox(id, Call::Port(service_port(port)?)));
            }
            let calls = calls(rest)?;
            let call = pick(method, calls)?;
            Ok(Route::Sandbox(id, call))
        }
        _ => Err(not_found()),
    }
}

/// The methods of the path `rest` below a sandbox, and what each means.
fn calls(rest: &[&str]) -> Result<Vec<(&'static str, Call)>, ErrorBody> {
    let id = |text: &str| ProcessId::parse(text).ok_or_else(|| bad_id(PROCESS_ID_RULE));
    Ok(match rest {
        [] => vec![
            ("GET", Call::State),
            ("PATCH", Call::SetOptions),
            ("DELETE", Call::Destroy),
        ],
        ["running"] => vec![("GET", Call::Running)],
        ["events"] => vec![("GET", Call::Events)],
        ["limits"] => vec![("GET", Call::Limits)],
        ["tickets"] => vec![("POST", Call::CreateTicket)],
        ["builds"] => vec![("POST", Call::StartBuild), ("GET", Call::ListBuilds)],
        ["builds", build] => vec![
            ("GET", Call::GetBuild(id(build)?)),
            ("DELETE", Call::CancelBuild(id(build)?)),
        ],
        ["builds", build, "logs"] => vec![("GET", Call::BuildLogs(id(build)?))],
        ["processes"] => vec![
            ("POST", Call::StartProcess),
            ("GET", Call::ListProcesses),
            ("DELETE", Call::KillAll),
        ],
        ["processes", process] => vec![
            ("GET", Call::GetProcess(id(process)?)),
            ("DELETE", Call::ForgetProcess(id(process)?)),
        ],
        ["processes", process, "kill"] => vec![("POST", Call::Kill(id(process)?))],
        ["processes", process, "stdin"] => vec![("POST", Call::Stdin(id(process)?))],
        ["processes", process, "wait"] => vec![("POST", Call::Wait(id(process)?))],
        ["processes", process, "logs"] => vec![("GET", Call::ProcessLogs(id(process)?))],
        ["processes", process, "stats"] => vec![("GET", Call::Stats(id(process)?))],
        ["scope"] => vec![("POST", Call::OpenScope)],
        ["scope", scope] => vec![("DELETE", Call::CloseScope(id(scope)?))],
        ["exec"] => vec![("POST", Call::Exec)],
        ["file", ..] => vec![
            ("GET", Call::ReadFile),
            ("PUT", Call::WriteFile),
            ("DELETE", Call::DeleteFile),
        ],
        ["files", ..] => vec![("GET", Call::ReadFile)],
        ["persist"] => vec![("POST", Call::Persist)],
        ["hydrate"] => vec![("POST", Call::Hydrate)],
        ["pty"] => vec![("GET", Call::Pty)],
        _ => return Err(not_found()),
    })
}

fn pick<T>(method: &str, choices: Vec<(&'static str, T)>) -> Result<T, ErrorBody> {
    let allow: Vec<String> = choices.iter().map(|(name, _)| (*name).to_owned()).collect();
    let found = choices.into_iter().find(|(name, _)| *name == method);
    found.map(|(_, choice)| choice).ok_or_else(|| {
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
mod tests {
    use proptest::prelude::*;
    use sandbox_protocol::error::ErrorCode;

    use super::{Call, Route, route, supervisor_path};

    fn code(method: &str, path: &str) -> ErrorCode {
        route(method, path).unwrap_err().code
    }

    #[test]
    fn every_call_of_the_contract_has_its_route() {
        for (method, path) in [
            ("GET", "/health"),
            ("POST", "/v1/sandbox"),
            ("GET", "/v1/sandbox/a"),
            ("PATCH", "/v1/sandbox/a"),
            ("DELETE", "/v1/sandbox/a"),
            ("GET", "/v1/sandbox/a/running"),
            ("GET", "/v1/sandbox/a/events"),
            ("POST", "/v1/sandbox/a/tickets"),
            ("POST", "/v1/sandbox/a/builds"),
            ("GET", "/v1/sandbox/a/builds"),
            ("GET", "/v1/sandbox/a/builds/b1"),
            ("DELETE", "/v1/sandbox/a/builds/b1"),
            ("GET", "/v1/sandbox/a/builds/b1/logs"),
            ("POST", "/v1/sandbox/a/processes"),
            ("GET", "/v1/sandbox/a/processes"),
            ("DELETE", "/v1/sandbox/a/processes"),
            ("GET", "/v1/sandbox/a/processes/p"),
            ("DELETE", "/v1/sandbox/a/processes/p"),
            ("POST", "/v1/sandbox/a/processes/p/kill"),
            ("POST", "/v1/sandbox/a/processes/p/stdin"),
            ("POST", "/v1/sandbox/a/processes/p/wait"),
            ("GET", "/v1/sandbox/a/processes/p/logs"),
            ("GET", "/v1/sandbox/a/processes/p/stats"),
            ("POST", "/v1/sandbox/a/exec"),
            ("GET", "/v1/sandbox/a/file/workspace/x"),
            ("PUT", "/v1/sandbox/a/file/workspace/x"),
            ("DELETE", "/v1/sandbox/a/file/workspace/x"),
            ("GET", "/v1/sandbox/a/files/workspace"),
            ("POST", "/v1/sandbox/a/persist"),
            ("POST", "/v1/sandbox/a/hydrate"),
            ("GET", "/v1/sandbox/a/pty"),
            ("PROPFIND", "/v1/sandbox/a/ports/8080"),
            ("DELETE", "/v1/sandbox/a/ports/8080/x/y"),
            ("GET", "/v1/sandbox/a/limits"),
            ("GET", "/v1/sandbox"),
            ("POST", "/v1/sandbox/a/scope"),
            ("DELETE", "/v1/sandbox/a/scope/s"),
        ] {
            assert!(route(method, path).is_ok(), "{method} {path}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_apart() {
        assert_eq!(code("GET", "/nope"), ErrorCode::RouteNotFound);
        assert_eq!(code("GET", "/v1/sandbox/a/nope"), ErrorCode::RouteNotFound);
        assert_eq!(code("GET", "/v1/sandbox/A"), ErrorCode::ValidationFailed);
        assert_eq!(
            code("GET", "/v1/sandbox/a/processes/b.c"),
            ErrorCode::ValidationFailed
        );
        assert_eq!(
            code("GET", "/v1/sandbox/a/ports/9711/"),
            ErrorCode::InvalidPort
        );
        let put = route("PUT", "/v1/sandbox/a/builds").unwrap_err();
        assert_eq!(put.code, ErrorCode::MethodNotAllowed);
        assert_eq!(put.context.allow.unwrap(), ["POST", "GET"]);
    }

    #[test]
    fn a_build_is_named_by_its_path() {
        let Ok(Route::Sandbox(id, Call::GetBuild(build))) = route("GET", "/v1/sandbox/s/builds/b")
        else {
            panic!("not the route of a build");
        };
        assert_eq!((id.as_str(), build.as_str()), ("s", "b"));
    }

    #[test]
    fn the_supervisor_gets_the_path_after_the_id() {
        assert_eq!(
            supervisor_path("/v1/sandbox/a/processes/p/logs"),
            "/processes/p/logs"
        );
        assert_eq!(
            supervisor_path("/v1/sandbox/a/file/workspace/b%2Fc"),
            "/file/workspace/b%2Fc"
        );
    }

    proptest! {
        #[test]
        fn no_path_makes_the_router_panic(method in "[A-Z]{0,7}", path in "/.{0,60}") {
            let _ = route(&method, &path);
            let _ = supervisor_path(&path);
        }
    }
}
