//! Single decisions, and a model that lives through any order of events.

use proptest::prelude::*;
use sandbox_protocol::sandbox::{KeepAliveRequest, SandboxStatus};
use sandbox_protocol::time::Timestamp;

use super::{BuildView, Decision, ScopeView, TICK_MS, View, decide, lease};
use crate::records::{Life, Options};

const HOUR: u64 = 3_600_000;

fn life(status: SandboxStatus, last_activity_at: i64) -> Life {
    Life {
        generation: 1,
        status,
        token: String::new(),
        boot_id: None,
        started_at: Timestamp(0),
        last_activity_at: Timestamp(last_activity_at),
        last_busy_at: None,
        lease_until: None,
    }
}

fn view<'a>(life: &'a Life, options: &'a Options, now: i64) -> View<'a> {
    View {
        now: Timestamp(now),
        life: Some(life),
        options,
        ceiling_ms: HOUR,
        container_running: true,
        build: BuildView::None,
        in_hand: false,
        scope: ScopeView::None,
        running_since: Some(&[]),
    }
}

#[test]
fn an_idle_sandbox_sleeps_after_its_time_and_not_before() {
    let (life, options) = (life(SandboxStatus::Running, 0), Options::default());
    assert_eq!(decide(&view(&life, &options, 0)), Decision::Watch(TICK_MS));
    assert_eq!(decide(&view(&life, &options, 599_999)), Decision::Watch(1));
    assert_eq!(
        decide(&view(&life, &options, 600_000)),
        Decision::Destroy("idle")
    );
}

#[test]
fn a_lease_keeps_an_idle_sandbox_until_it_expires() {
    let mut life = life(SandboxStatus::Running, 0);
    life.lease_until = lease(KeepAliveRequest::Switch(true), Timestamp(0), HOUR);
    let options = Options::default();
    assert_eq!(
        decide(&view(&life, &options, 3_599_999)),
        Decision::Watch(1)
    );
    assert_eq!(
        decide(&view(&life, &options, 3_600_000)),
        Decision::Destroy("idle")
    );
}

#[test]
fn a_running_process_keeps_its_sandbox_up_to_the_ceiling() {
    let (life, options) = (life(SandboxStatus::Running, 0), Options::default());
    let since = [Timestamp(1000)];
    let mut view = view(&life, &options, 3_600_999);
    view.running_since = Some(&since);
    assert_eq!(decide(&view), Decision::Watch(1));
    view.now = Timestamp(3_601_000);
    assert_eq!(decide(&view), Decision::Destroy("idle"));
}

#[test]
fn a_lease_has_a_ceiling() {
    let lease = |request| lease(request, Timestamp(5), 100);
    assert_eq!(lease(KeepAliveRequest::Switch(false)), None);
    assert_eq!(lease(KeepAliveRequest::Switch(true)), Some(Timestamp(105)));
    assert_eq!(
        lease(KeepAliveRequest::Lease { max_ms: 7 }),
        Some(Timestamp(12))
    );
    assert_eq!(
        lease(KeepAliveRequest::Lease { max_ms: 700 }),
        Some(Timestamp(105))
    );
}

#[test]
fn what_nobody_has_in_hand_is_finished() {
    let options = Options::default();
    for status in [SandboxStatus::Starting, SandboxStatus::Stopping] {
        let life = life(status, 0);
        assert!(matches!(
            decide(&view(&life, &options, 1)),
            Decision::Destroy(_)
        ));
        let in_hand = View {
            in_hand: true,
            ..view(&life, &options, 1)
        };
        assert!(matches!(decide(&in_hand), Decision::Watch(_)));
    }
}

#[test]
fn a_build_is_never_slept_away() {
    let (life, options) = (life(SandboxStatus::Running, 0), Options::default());
    for (build, want) in [
        (BuildView::Tended, Decision::Watch(super::BUILD_TICK_MS)),
        (BuildView::Untended, Decision::TendBuild),
    ] {
        let view = View {
            build,
            ..view(&life, &options, i64::from(i32::MAX))
        };
        assert_eq!(decide(&view), want);
    }
}

/// What may happen to a sandbox between two looks, in any order, twice, and late.
#[derive(Clone, Debug)]
enum Happens {
    Passes(u64),
    Activity,
    Started,
    Answers,
    StartFails,
    Dies,
    Lease(u64),
    ProcessStarts,
    ProcessesEnd,
    FallsSilent,
    SpeaksAgain,
    BuildBegins,
    BuildLosesItsTask,
    BuildEnds,
    ScopeOpens,
    ScopeEnds,
    Look,
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        (0..2 * HOUR).prop_map(Happens::Passes),
        (0..120_000_u64).prop_map(Happens::Passes),
        (1..2 * HOUR).prop_map(Happens::Lease),
        prop::sample::select(vec![
            Happens::Activity,
            Happens::Started,
            Happens::Answers,
            Happens::StartFails,
            Happens::Dies,
            Happens::ProcessStarts,
            Happens::ProcessesEnd,
            Happens::FallsSilent,
            Happens::SpeaksAgain,
            Happens::BuildBegins,
            Happens::BuildLosesItsTask,
            Happens::BuildEnds,
            Happens::ScopeOpens,
            Happens::ScopeEnds,
            Happens::Look,
            Happens::Look,
        ]),
    ]
}

/// A sandbox, its container, and its alarm.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
struct World {
    now: Timestamp,
    life: Life,
    options: Options,
    container: bool,
    build: BuildView,
    scope: ScopeView,
    processes: Vec<Timestamp>,
    silent: bool,
    in_hand: bool,
    armed: bool,
}

impl World {
    fn happen(&mut self, event: &Happens) {
        match event {
            Happens::Passes(ms) => self.now = self.now.plus_ms(*ms),
            Happens::Activity => self.life.last_activity_at = self.now,
            Happens::Started if self.life.status == SandboxStatus::Stopped => {
                self.life = life(SandboxStatus::Starting, self.now.0);
                (self.container, self.in_hand, self.armed) = (true, true, true);
            }
            Happens::Answers if self.in_hand && self.container => {
                (self.life.status, self.in_hand) = (SandboxStatus::Running, false);
            }
            Happens::StartFails if self.in_hand => {
                (self.life.status, self.in_hand) = (SandboxStatus::Stopped, false);
                self.container = false;
            }
            Happens::Dies => self.gone(),
            Happens::Lease(ms) if self.life.status == SandboxStatus::Running => {
                let request = KeepAliveRequest::Lease { max_ms: *ms };
                self.life.lease_until = lease(request, self.now, HOUR);
                self.armed = true;
            }
            Happens::ProcessStarts if self.answers() => self.processes.push(self.now),
            Happens::ProcessesEnd => self.processes.clear(),
            Happens::FallsSilent => self.silent = true,
            Happens::SpeaksAgain => self.silent = false,
            Happens::BuildBegins if self.build == BuildView::None => {
                (self.build, self.armed) = (BuildView::Tended, true);
            }
            Happens::BuildLosesItsTask if self.build == BuildView::Tended => {
                self.build = BuildView::Untended;
            }
            Happens::BuildEnds if self.build == BuildView::Tended => {
                self.build = BuildView::None;
                self.gone();
                self.life.status = SandboxStatus::Stopped;
            }
            Happens::ScopeOpens if self.answers() => self.scope = self.scope.and(None),
            Happens::ScopeEnds if self.scope == ScopeView::Held => {
                self.scope = ScopeView::Ends(self.now.plus_ms(30_000));
                self.armed = true;
            }
            Happens::Look => {
                self.look();
            }
            _ => {}
        }
    }

    fn answers(&self) -> bool {
        self.container && self.life.status == SandboxStatus::Running
    }

    fn gone(&mut self) {
        self.container = false;
        self.processes.clear();
    }

    fn forget_ended_scope(&mut self) {
        if matches!(self.scope, ScopeView::Ends(_)) {
            self.scope = ScopeView::None;
        }
    }

    /// What the alarm's handler does; how long until it looks again.
    fn look(&mut self) -> u64 {
        let known = self.answers() && !self.silent;
        if known && super::pins(&self.processes, self.now, HOUR) {
            self.life.last_busy_at = Some(self.now);
        }
        let decision = decide(&View {
            container_running: self.container,
            build: self.build,
            in_hand: self.in_hand,
            scope: self.scope,
            running_since: known.then_some(self.processes.as_slice()),
            ..view(&self.life, &self.options, self.now.0)
        });
        match decision {
            Decision::Rest => {
                assert!(!self.container && self.build == BuildView::None);
                self.armed = false;
                self.forget_ended_scope();
            }
            Decision::Watch(ms) => {
                assert!(ms > 0);
                return ms;
            }
            Decision::TendBuild => self.build = BuildView::Tended,
            Decision::NoteDeath => {
                assert!(!self.container);
                self.life.status = SandboxStatus::Stopped;
            }
            Decision::Destroy(_) => {
                let ended = matches!(self.scope, ScopeView::Ends(at) if at <= self.now);
                assert!(ended || self.build == BuildView::None, "a build covers it");
                let covered = !ended
                    && self.answers()
                    && (self.life.lease_until > Some(self.now)
                        || known && super::pins(&self.processes, self.now, HOUR));
                assert!(!covered, "a lease or a process covers it");
                assert!(!self.in_hand, "a start has it in hand");
                self.gone();
                self.build = BuildView::None;
                self.forget_ended_scope();
                self.life.status = SandboxStatus::Stopped;
            }
        }
        0
    }
}

proptest! {
    #[test]
    fn whatever_happens_it_ends_with_nothing_running_and_nothing_armed(
        events in prop::collection::vec(happens(), 0..60),
    ) {
        let mut world = World {
            now: Timestamp(0),
            life: life(SandboxStatus::Stopped, 0),
            options: Options::default(),
            container: false,
            build: BuildView::None,
            scope: ScopeView::None,
            processes: Vec::new(),
            silent: false,
            in_hand: false,
            armed: false,
        };
        for event in &events {
            world.happen(event);
            prop_assert!(world.armed || !world.container, "a container that nobody watches");
        }
        // Nothing more comes from outside; what is in hand ends, as everything does that has a limit.
        for _ in 0..10_000 {
            world.happen(&Happens::StartFails);
            world.happen(&Happens::BuildEnds);
            if !world.armed {
                break;
            }
            let ms = world.look();
            world.now = world.now.plus_ms(ms);
        }
        prop_assert!(!world.armed && !world.container, "{:?}", world.life);
        prop_assert_eq!(world.life.status, SandboxStatus::Stopped);
    }

    #[test]
    fn with_nothing_to_keep_it_ends_at_rest(
        status in prop::sample::select(vec![SandboxStatus::Stopped, SandboxStatus::Starting, SandboxStatus::Running, SandboxStatus::Stopping]),
        activity in 0_i64..10_000_000,
        leased in any::<bool>(),
        mut running in any::<bool>(),
    ) {
        let options = Options::default();
        let mut life = life(status, activity);
        life.lease_until = leased.then_some(Timestamp(activity + 3_600_000));
        let mut now = activity;
        for _ in 0..1000 {
            let seen = View { container_running: running, ..view(&life, &options, now) };
            match decide(&seen) {
                Decision::Rest => {
                    prop_assert!(!running);
                    return Ok(());
                }
                Decision::Watch(ms) => {
                    prop_assert!(ms > 0);
                    now += i64::try_from(ms).unwrap();
                }
                Decision::NoteDeath => life.status = SandboxStatus::Stopped,
                Decision::Destroy(_) => {
                    running = false;
                    life.status = SandboxStatus::Stopped;
                }
                Decision::TendBuild => prop_assert!(false, "there is no build"),
            }
        }
        prop_assert!(false, "it never came to rest");
    }
}
