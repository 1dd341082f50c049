//! The paths below a sandbox.

use sandbox_protocol::id::ProcessId;

use self::Meaning::{Of, Plain};
use super::Call;

/// What a method of a path means.
pub(super) enum Meaning {
    /// Always this.
    Plain(Call),
    /// This of the one that the path names.
    Of(fn(ProcessId) -> Call),
}

/// Every path below a sandbox, its methods, and what each means; `{id}` is one name, `{path}` whatever comes. The
/// document of the API has the same, or a test fails.
pub(super) static CALLS: &[(&str, &[(&str, Meaning)])] = &[
    (
        "",
        &[
            ("GET", Plain(Call::State)),
            ("PATCH", Plain(Call::SetOptions)),
            ("DELETE", Plain(Call::Destroy)),
        ],
    ),
    ("running", &[("GET", Plain(Call::Running))]),
    ("events", &[("GET", Plain(Call::Events))]),
    ("limits", &[("GET", Plain(Call::Limits))]),
    ("tickets", &[("POST", Plain(Call::CreateTicket))]),
    (
        "builds",
        &[
            ("POST", Plain(Call::StartBuild)),
            ("GET", Plain(Call::ListBuilds)),
        ],
    ),
    (
        "builds/{id}",
        &[
            ("GET", Of(Call::GetBuild)),
            ("DELETE", Of(Call::CancelBuild)),
        ],
    ),
    ("builds/{id}/logs", &[("GET", Of(Call::BuildLogs))]),
    (
        "processes",
        &[
            ("POST", Plain(Call::StartProcess)),
            ("GET", Plain(Call::ListProcesses)),
            ("DELETE", Plain(Call::KillAll)),
        ],
    ),
    (
        "processes/{id}",
        &[
            ("GET", Of(Call::GetProcess)),
            ("DELETE", Of(Call::ForgetProcess)),
        ],
    ),
    ("processes/{id}/kill", &[("POST", Of(Call::Kill))]),
    ("processes/{id}/stdin", &[("POST", Of(Call::Stdin))]),
    ("processes/{id}/wait", &[("POST", Of(Call::Wait))]),
    ("processes/{id}/logs", &[("GET", Of(Call::ProcessLogs))]),
    ("processes/{id}/stats", &[("GET", Of(Call::Stats))]),
    ("scope", &[("POST", Plain(Call::OpenScope))]),
    ("scope/{id}", &[("DELETE", Of(Call::CloseScope))]),
    ("exec", &[("POST", Plain(Call::Exec))]),
    (
        "file/{path}",
        &[
            ("GET", Plain(Call::ReadFile)),
            ("PUT", Plain(Call::WriteFile)),
            ("DELETE", Plain(Call::DeleteFile)),
        ],
    ),
    ("files/{path}", &[("GET", Plain(Call::ReadFile))]),
    ("persist", &[("POST", Plain(Call::Persist))]),
    ("hydrate", &[("POST", Plain(Call::Hydrate))]),
    ("pty", &[("GET", Plain(Call::Pty))]),
];
