//! What follows what, and that nothing follows the end.

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
