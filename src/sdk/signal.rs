//! What a tree is told.

use sandbox_protocol::process::KillRequest;
use sandbox_protocol::signal;

/// A signal to a tree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM, 5 s of grace, then SIGKILL.
    #[default]
    Term,
    /// SIGINT, likewise.
    Int,
    /// SIGKILL.
    Kill,
    /// SIGHUP, delivered without waiting.
    Hup,
    /// SIGUSR1, delivered without waiting.
    Usr1,
    /// SIGUSR2, delivered without waiting.
    Usr2,
}

impl Signal {
    /// The request of it, with a grace of its own if `grace_ms` is some.
    pub(super) fn into_request(self, grace_ms: Option<u64>) -> KillRequest {
        let name = match self {
            Self::Term => "TERM",
            Self::Int => "INT",
            Self::Kill => "KILL",
            Self::Hup => "HUP",
            Self::Usr1 => "USR1",
            Self::Usr2 => "USR2",
        };
        KillRequest {
            signal: signal::Signal::from_name(name),
            grace_ms: grace_ms.map(Some),
        }
    }
}
