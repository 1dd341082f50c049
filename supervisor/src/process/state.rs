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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sandbox_protocol::process::{ExitReason, Restart, RestartPolicy};
    use sandbox_protocol::signal::Signal;

    use super::{Cause, Ended, Next, Phase, State, backoff_ms};

    fn running(restart: Option<Restart>) -> State {
        let mut state = State::new(restart);
        state.started();
        state
    }

    fn reason(mut state: State, ended: Ended) -> ExitReason {
        match state.ended(ended) {
            Next::Finish(exit) | Next::Restart { exit, .. } => exit.reason,
        }
    }

    #[test]
    fn an_end_of_its_own_and_one_of_ours_are_told_apart() {
        assert_eq!(reason(running(None), Ended::Code(3)), ExitReason::Exited);
        let killed = Ended::Signal(Signal::KILL);
        assert_eq!(reason(running(None), killed), ExitReason::Signaled);
        for (cause, expected) in [
            (Cause::Kill, ExitReason::Killed),
            (Cause::Matched, ExitReason::Killed),
            (Cause::Timeout, ExitReason::Timeout),
            (Cause::Oom, ExitReason::Oom),
            (Cause::ProcessLimit, ExitReason::ProcessLimit),
            (Cause::Stop, ExitReason::ContainerStopped),
        ] {
            let mut state = running(None);
            state.intervene(cause);
            state.intervene(Cause::Kill);
            assert_eq!(reason(state.clone(), killed), expected);
            assert_eq!(reason(state, Ended::Unobserved), ExitReason::Lost);
        }
    }

    #[test]
    fn want_of_memory_is_told_as_that_and_is_a_failure_to_restart_unless_it_was_the_limit() {
        let mut state = running(Some(Restart::default()));
        match state.ended(Ended::OutOfMemory) {
            Next::Restart { exit, run: 2, .. } => {
                assert_eq!(exit.reason, ExitReason::Oom);
                assert_eq!(exit.signal, Some(Signal::KILL));
            }
            other => panic!("{other:?}"),
        }
        let mut state = running(Some(Restart::default()));
        state.intervene(Cause::Oom);
        assert!(matches!(state.ended(Ended::OutOfMemory), Next::Finish(_)));
        assert_eq!(
            reason(running(None), Ended::Signal(Signal::KILL)),
            ExitReason::Signaled
        );
    }

    #[test]
    fn a_delivered_signal_is_a_kill_only_if_it_is_what_ended_it() {
        let hup = Signal::from_name("HUP").unwrap();
        let mut state = running(None);
        state.delivered(hup);
        assert_eq!(
            reason(state.clone(), Ended::Signal(hup)),
            ExitReason::Killed
        );
        assert_eq!(reason(state.clone(), Ended::Code(0)), ExitReason::Exited);
        let term = Ended::Signal(Signal::TERM);
        assert_eq!(reason(state, term), ExitReason::Signaled);
    }

    #[test]
    fn the_pause_doubles_up_to_its_ceiling() {
        let pauses: Vec<u64> = (0..8).map(|n| backoff_ms(500, n)).collect();
        assert_eq!(pauses, [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000]);
        assert_eq!(backoff_ms(500, 200), 30_000);
        assert_eq!(backoff_ms(0, 5), 0);
    }

    #[test]
    fn on_failure_does_not_restart_a_success() {
        let mut state = running(Some(Restart::default()));
        assert!(matches!(state.ended(Ended::Code(0)), Next::Finish(_)));
        let mut state = running(Some(Restart::default()));
        assert!(matches!(
            state.ended(Ended::Code(1)),
            Next::Restart { run: 2, .. }
        ));
    }

    #[test]
    fn an_intervention_between_two_runs_is_the_end_as_the_last_run_had_it() {
        let mut state = running(Some(Restart::default()));
        state.ended(Ended::Code(9));
        state.intervene(Cause::Kill);
        match state.phase() {
            Phase::Finished(exit) => {
                assert_eq!((exit.exit_code, exit.reason), (Some(9), ExitReason::Exited));
            }
            other => panic!("{other:?}"),
        }
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Started,
        Ended(Ended),
        Intervene(Cause),
        Delivered(Signal),
        Resume,
        GiveUp,
    }

    fn step() -> impl Strategy<Value = Step> {
        let signal = (1..=64_i32).prop_map(|n| Signal::from_number(n).unwrap());
        prop_oneof![
            Just(Step::Started),
            (0..256_i32).prop_map(|code| Step::Ended(Ended::Code(code))),
            signal
                .clone()
                .prop_map(|signal| Step::Ended(Ended::Signal(signal))),
            Just(Step::Ended(Ended::Unobserved)),
            Just(Step::Ended(Ended::OutOfMemory)),
            Just(Step::Intervene(Cause::Kill)),
            Just(Step::Intervene(Cause::Timeout)),
            signal.prop_map(Step::Delivered),
            Just(Step::Resume),
            Just(Step::GiveUp),
        ]
    }

    proptest! {
        #[test]
        fn no_life_is_longer_than_its_policy(
            steps in prop::collection::vec(step(), 0..60),
            max_restarts in 0..4_u32,
            always in any::<bool>(),
        ) {
            let policy = if always { RestartPolicy::Always } else { RestartPolicy::OnFailure };
            let mut state = State::new(Some(Restart { policy, max_restarts, backoff_ms: 1 }));
            let mut intervened = false;
            let mut finished = None;
            for step in steps {
                let phase = state.phase();
                match step {
                    Step::Started => state.started(),
                    // A run ends only if there is one.
                    Step::Ended(_) if phase != Phase::Running => {}
                    Step::Ended(ended) => match state.ended(ended) {
                        Next::Restart { exit, run, .. } => {
                            prop_assert!(!intervened, "a kill ends the policy");
                            prop_assert!(exit.reason != ExitReason::Lost);
                            prop_assert_eq!(run, state.restarts() + 1);
                        }
                        Next::Finish(exit) => prop_assert_eq!(
                            exit.reason == ExitReason::Lost,
                            ended == Ended::Unobserved
                        ),
                    },
                    Step::Intervene(cause) => { state.intervene(cause); intervened = true; }
                    Step::Delivered(signal) => state.delivered(signal),
                    Step::Resume => state.resume(),
                    Step::GiveUp => state.give_up(),
                }
                prop_assert!(state.restarts() <= max_restarts);
                if let Some(end) = finished {
                    prop_assert_eq!(state.phase(), end, "nothing follows the end");
                }
                if matches!(state.phase(), Phase::Finished(_)) {
                    finished = Some(state.phase());
                }
            }
        }
    }
}
