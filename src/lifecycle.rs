//! What is to be done with a sandbox now: a pure function of its rows, the time, and what is seen.
//!
//! ```text
//!              start asked for            supervisor answers
//!   stopped ───────────────────▶ starting ──────────────────▶ running
//!      ▲                            │                             │ idle, lease over · destroy · build ended
//!      │        gone                ▼        start failed         ▼
//!      └─────────────────────── stopping ◀────────────────────────┘
//! ```
//!
//! A container that is gone without being asked takes any state to `stopped`. A build that has not ended
//! is tended by one task; when that task died with its isolate, the next tick starts it again from the row.

use sandbox_protocol::sandbox::{KeepAliveRequest, SandboxStatus};
use sandbox_protocol::time::Timestamp;

use crate::records::{Life, Options};

/// How often a running sandbox is looked at, in milliseconds.
pub(crate) const TICK_MS: u64 = 60_000;

/// How often it is looked at while a build runs, in milliseconds: how late the next isolate may notice.
pub(crate) const BUILD_TICK_MS: u64 = 10_000;

/// How long a container outlives the eviction of its object, in milliseconds: two ticks.
pub(crate) const OUTLIVE_MS: u64 = 2 * TICK_MS;

/// How long a container may take until its supervisor answers, in milliseconds.
pub(crate) const START_LIMIT_MS: u64 = 60_000;

/// What is seen of a sandbox.
#[derive(Clone, Debug)]
pub(crate) struct View<'a> {
    pub(crate) now: Timestamp,
    pub(crate) life: Option<&'a Life>,
    pub(crate) options: &'a Options,
    /// How long anything may keep the sandbox, in milliseconds.
    pub(crate) ceiling_ms: u64,
    /// Whether the container runs.
    pub(crate) container_running: bool,
    /// The build that has not ended.
    pub(crate) build: BuildView,
    /// Whether a task of this isolate starts or stops the container right now.
    pub(crate) in_hand: bool,
    /// When each running process was started; `None` if the supervisor did not say.
    pub(crate) running_since: Option<&'a [Timestamp]>,
}

/// Who tends the build that has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BuildView {
    /// There is none.
    None,
    /// A task of this isolate.
    Tended,
    /// Nobody: its task died with its isolate.
    Untended,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Nothing, and nothing to look at again.
    Rest,
    /// Nothing but to look again in so many milliseconds.
    Watch(u64),
    /// Go on with the build.
    TendBuild,
    /// Note that the container is gone.
    NoteDeath,
    /// Destroy the container, for this reason.
    Destroy(&'static str),
}

/// Decides. Building, starting and stopping are left to the tasks that have them in hand.
pub(crate) fn decide(view: &View<'_>) -> Decision {
    match view.build {
        BuildView::Tended => return Decision::Watch(BUILD_TICK_MS),
        BuildView::Untended => return Decision::TendBuild,
        BuildView::None => {}
    }
    let Some(life) = view.life else {
        return Decision::Rest;
    };
    if view.in_hand {
        return Decision::Watch(TICK_MS);
    }
    match life.status {
        SandboxStatus::Stopped if view.container_running => Decision::Destroy("unexpected"),
        SandboxStatus::Stopped => Decision::Rest,
        SandboxStatus::Stopping => Decision::Destroy("unfinished"),
        SandboxStatus::Starting => Decision::Destroy("startAbandoned"),
        SandboxStatus::Running if !view.container_running => Decision::NoteDeath,
        SandboxStatus::Running => awake(view, life),
    }
}

/// Whether a running sandbox without a build may stay.
fn awake(view: &View<'_>, life: &Life) -> Decision {
    let until = stays_until(view, life);
    let left = until.since(view.now);
    if left == 0 {
        Decision::Destroy("idle")
    } else {
        Decision::Watch(left.min(TICK_MS))
    }
}

/// Until when a running sandbox stays, as things are now.
fn stays_until(view: &View<'_>, life: &Life) -> Timestamp {
    let ceiling = signed(view.ceiling_ms);
    let running = view.running_since.unwrap_or_default();
    // A supervisor that did not answer says nothing about its processes; they count as at the last look.
    let pinned = running
        .iter()
        .map(|since| since.plus_ms(ceiling))
        .max()
        .filter(|until| *until > view.now);
    let active = life.last_busy_at.max(Some(life.last_activity_at));
    let idle = active
        .unwrap_or(life.started_at)
        .plus_ms(signed(view.options.sleep_after_ms));
    let lease = life.lease_until.unwrap_or(Timestamp(i64::MIN));
    pinned.unwrap_or(Timestamp(i64::MIN)).max(idle).max(lease)
}

/// The end of a lease asked for as `request` at `from`; `None` if none was asked for.
pub(crate) fn lease(
    request: KeepAliveRequest,
    from: Timestamp,
    ceiling_ms: u64,
) -> Option<Timestamp> {
    match request {
        KeepAliveRequest::Switch(false) => None,
        KeepAliveRequest::Switch(true) => Some(from.plus_ms(signed(ceiling_ms))),
        KeepAliveRequest::Lease { max_ms } => Some(from.plus_ms(signed(max_ms.min(ceiling_ms)))),
    }
}

/// A duration for arithmetic on times; beyond 292 million years it is for ever.
pub(crate) fn signed(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sandbox_protocol::sandbox::{KeepAliveRequest, SandboxStatus};
    use sandbox_protocol::time::Timestamp;

    use super::{BuildView, Decision, TICK_MS, View, decide, lease};
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

    proptest! {
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
}
