//! The life of a process, as a pure machine: no clock, no lock, no runtime.
//!
//! ```text
//!             started            ended, policy wants another run
//!  Starting ──────────▶ Running ────────────────────────────────▶ Waiting
//!     ▲                    │                                         │
//!     │                    │ ended                                   │ intervened, or the
//!     │                    ▼                                         │ next run cannot start
//!     │                 Finished ◀───────────────────────────────────┤
//!     └──────────────────────────────────────────────────────────────┘
//!                              its pause is over
//! ```
//!
//! A process that never executed has no life and leaves no record. `intervened` (a kill, the end of its
//! lifetime, a limit, a match, the container's stop) changes no phase but the last; it gives the end its
//! reason and takes the policy away. A signal that ends nobody by itself is only remembered: if it is what
//! ended the root, that was our kill.

#[cfg(test)]
mod tests;

use sandbox_protocol::process::{ExitReason, Restart, RestartPolicy};
use sandbox_protocol::signal::Signal;

/// The longest pause before a run, in milliseconds.
const MAX_BACKOFF_MS: u64 = 30_000;

/// The life of one process.
#[derive(Clone, Debug)]
pub(super) struct State {
    phase: Phase,
    policy: Restart,
    restarts: u32,
    cause: Option<Cause>,
    delivered: u64,
}

/// Where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Asked for, not yet executing.
    Starting,
    /// Executing.
    Running,
    /// Between two runs; the exit of the one that ended.
    Waiting(Exit),
    /// Over.
    Finished(Exit),
}

/// How a run or a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    /// The exit code; `None` when a signal ended it or nobody saw.
    pub exit_code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<Signal>,
    /// Why.
    pub reason: ExitReason,
}

/// How a root ended, as far as it was observed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// It exited with this code.
    Code(i32),
    /// This signal ended it.
    Signal(Signal),
    /// The kernel killed it for want of memory, be it that of the whole container.
    OutOfMemory,
    /// Nobody saw it.
    Unobserved,
}

/// Why we end a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// Somebody asked for it.
    Kill,
    /// `until` was seen in its output.
    Matched,
    /// Its lifetime is over.
    Timeout,
    /// It used more memory than it may.
    Oom,
    /// It has more processes than it may.
    ProcessLimit,
    /// The container stops.
    Stop,
}

/// What follows the end of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing.
    Finish(Exit),
    /// Another run, after a pause.
    Restart {
        /// How the one that ended did.
        exit: Exit,
        /// The number of the next; the first is 1.
        run: u32,
        /// The pause, in milliseconds.
        after_ms: u64,
    },
}

impl Cause {
    const fn reason(self) -> ExitReason {
        match self {
            Self::Kill | Self::Matched => ExitReason::Killed,
            Self::Timeout => ExitReason::Timeout,
            Self::Oom => ExitReason::Oom,
            Self::ProcessLimit => ExitReason::ProcessLimit,
            Self::Stop => ExitReason::ContainerStopped,
        }
    }
}

impl Ended {
    /// What a wait status says; `None` is that there is none.
    pub(super) fn from_status(status: Option<i32>) -> Self {
        let Some(status) = status else {
            return Self::Unobserved;
        };
        if libc::WIFEXITED(status) {
            return Self::Code(libc::WEXITSTATUS(status));
        }
        Signal::from_number(libc::WTERMSIG(status)).map_or(Self::Unobserved, Self::Signal)
    }
}

impl State {
    /// The life of a process that is asked for.
    pub(super) fn new(restart: Option<Restart>) -> Self {
        let never = Restart {
            policy: RestartPolicy::Never,
            ..Restart::default()
        };
        Self {
            phase: Phase::Starting,
            policy: restart.unwrap_or(never),
            restarts: 0,
            cause: None,
            delivered: 0,
        }
    }

    /// Where it is.
    pub(super) const fn phase(&self) -> Phase {
        self.phase
    }

    /// How often it was started again.
    pub(super) const fn restarts(&self) -> u32 {
        self.restarts
    }

    /// A run executes.
    pub(super) fn started(&mut self) {
        if self.phase == Phase::Starting {
            self.phase = Phase::Running;
        }
    }

    /// We end it, because of `cause`. The first cause of several counts. Between two runs this is the end.
    pub(super) fn intervene(&mut self, cause: Cause) {
        self.cause.get_or_insert(cause);
        self.policy.policy = RestartPolicy::Never;
        self.give_up();
    }

    /// `signal` was delivered on somebody's behalf, not to end it.
    pub(super) fn delivered(&mut self, signal: Signal) {
        self.delivered |= 1 << (signal.number() - 1);
    }

    /// The root of the current run ended.
    pub(super) fn ended(&mut self, ended: Ended) -> Next {
        let exit = self.exit(ended);
        if !self.wants_another(exit) {
            self.phase = Phase::Finished(exit);
            return Next::Finish(exit);
        }
        let after_ms = backoff_ms(self.policy.backoff_ms, self.restarts);
        self.restarts += 1;
        self.phase = Phase::Waiting(exit);
        Next::Restart {
            exit,
            run: self.restarts + 1,
            after_ms,
        }
    }

    /// The pause is over.
    pub(super) fn resume(&mut self) {
        if let Phase::Waiting(_) = self.phase {
            self.phase = Phase::Starting;
        }
    }

    /// There will be no next run: it ended as its last run did.
    pub(super) fn give_up(&mut self) {
        if let Phase::Waiting(exit) = self.phase {
            self.phase = Phase::Finished(exit);
        }
    }

    fn exit(&self, ended: Ended) -> Exit {
        let (exit_code, signal) = match ended {
            Ended::Code(code) => (Some(code), None),
            Ended::Signal(signal) => (None, Some(signal)),
            Ended::OutOfMemory => (None, Some(Signal::KILL)),
            Ended::Unobserved => (None, None),
        };
        let ours = |signal: Signal| self.delivered & (1 << (signal.number() - 1)) != 0;
        let reason = match (ended, self.cause) {
            (Ended::Unobserved, _) => ExitReason::Lost,
            (_, Some(cause)) => cause.reason(),
            (Ended::OutOfMemory, None) => ExitReason::Oom,
            (Ended::Signal(signal), None) if ours(signal) => ExitReason::Killed,
            (Ended::Signal(_), None) => ExitReason::Signaled,
            (Ended::Code(_), None) => ExitReason::Exited,
        };
        Exit {
            exit_code,
            signal,
            reason,
        }
    }

    fn wants_another(&self, exit: Exit) -> bool {
        // An intervention has taken the policy away, so this want of memory was not by a limit of its own.
        let by_itself = matches!(
            exit.reason,
            ExitReason::Exited | ExitReason::Signaled | ExitReason::Oom
        );
        let policy = match self.policy.policy {
            RestartPolicy::Never => false,
            RestartPolicy::OnFailure => exit.exit_code != Some(0),
            RestartPolicy::Always => true,
        };
        by_itself && policy && self.restarts < self.policy.max_restarts
    }
}

/// The pause before the run after `restarts` restarts: doubled each time, up to the ceiling.
fn backoff_ms(first_ms: u64, restarts: u32) -> u64 {
    let factor = 1_u64.checked_shl(restarts).unwrap_or(u64::MAX);
    first_ms.saturating_mul(factor).min(MAX_BACKOFF_MS)
}
