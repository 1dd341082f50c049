//! The faults, the moments, and the reason that is true where they meet.

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    ClientGone,
    Reload,
    WorkerdKilled,
    StorageReadBack,
    ContainerKilled,
    SupervisorKilled,
    SupervisorFrozen,
}

/// How far the build has come when it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    BeforeContainer,
    DuringBuild,
    WhileDestroying,
    AfterTheEnd,
}

use Fault::{
    ClientGone, ContainerKilled, Reload, StorageReadBack, SupervisorFrozen, SupervisorKilled,
    WorkerdKilled,
};
use Moment::{AfterTheEnd, BeforeContainer, DuringBuild, WhileDestroying};

/// In the order in which they are brought about.
pub(super) const MOMENTS: [Moment; 4] =
    [AfterTheEnd, DuringBuild, WhileDestroying, BeforeContainer];

impl Fault {
    /// Whether it hits every sandbox of the server at once.
    pub(super) fn is_of_the_server(self) -> bool {
        matches!(self, Reload | WorkerdKilled | StorageReadBack)
    }

    /// Whether the supervisor lives on, so that the log can be completed.
    pub(super) fn spares_the_supervisor(self) -> bool {
        matches!(self, ClientGone | Reload | WorkerdKilled)
    }

    /// The reason that is true of a build that it hits at `moment`, whose container had come up by then or not.
    pub(super) fn reason(self, moment: Moment, came_up: bool) -> &'static str {
        match (moment, self) {
            // Nobody waits for the one that has no container yet: the next isolate starts it, and it ends by itself.
            (AfterTheEnd, _) | (BeforeContainer, Reload | WorkerdKilled | StorageReadBack) => {
                "exited"
            }
            (WhileDestroying, _) => "cancelled",
            (_, ClientGone) | (DuringBuild, Reload | WorkerdKilled) => "clientGone",
            // It depends on how far the start had come.
            (BeforeContainer, _) if !came_up => "startFailed",
            (_, StorageReadBack | ContainerKilled | SupervisorKilled) => "containerDied",
            (_, SupervisorFrozen) => "lost",
        }
    }
}
