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

/// Why a sandbox is destroyed that nobody used for long enough.
pub(crate) const IDLE: &str = "idle";

/// Why a sandbox is destroyed whose caller is gone.
pub(crate) const SCOPE_ENDED: &str = "scopeEnded";

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
    /// What callers that hold the sandbox ask for.
    pub(crate) scope: ScopeView,
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

/// What the scopes of a sandbox ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ScopeView {
    /// There is none.
    None,
    /// All are held.
    Held,
    /// One has ended without a word; the sandbox goes then.
    Ends(Timestamp),
}

impl ScopeView {
    /// Adds a scope that is held, or one that `ends_at` a time: the first counts.
    pub(crate) fn and(self, ends_at: Option<Timestamp>) -> Self {
        match (self, ends_at) {
            (Self::Ends(first), Some(at)) => Self::Ends(first.min(at)),
            (_, Some(at)) => Self::Ends(at),
            (Self::Ends(first), None) => Self::Ends(first),
            (_, None) => Self::Held,
        }
    }

    fn has_ended(self, now: Timestamp) -> bool {
        matches!(self, Self::Ends(at) if at <= now)
    }

    /// When to look for its sake, in milliseconds from `now`.
    fn look_in(self, now: Timestamp) -> u64 {
        match self {
            Self::None => TICK_MS,
            Self::Held => BUILD_TICK_MS,
            Self::Ends(at) => at.since(now).clamp(1, TICK_MS),
        }
    }
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
    match decide_unscoped(view) {
        Decision::Watch(_) if view.scope.has_ended(view.now) && !view.in_hand => {
            Decision::Destroy(SCOPE_ENDED)
        }
        Decision::Watch(ms) => Decision::Watch(ms.min(view.scope.look_in(view.now))),
        decision => decision,
    }
}

fn decide_unscoped(view: &View<'_>) -> Decision {
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
        return Decision::Destroy(IDLE);
    }
    // What runs may end at any moment, and then it is for `sleepAfter` to say.
    let running = view.running_since.unwrap_or_default();
    let tick = if pins(running, view.now, view.ceiling_ms) {
        view.options.sleep_after_ms.clamp(1000, TICK_MS)
    } else {
        TICK_MS
    };
    Decision::Watch(left.min(tick))
}

/// Whether a process that runs since one of these times keeps its sandbox, which it does up to the ceiling.
pub(crate) fn pins(running_since: &[Timestamp], now: Timestamp, ceiling_ms: u64) -> bool {
    running_since
        .iter()
        .any(|since| since.plus_ms(ceiling_ms) > now)
}

/// Until when a running sandbox stays, as things are now.
fn stays_until(view: &View<'_>, life: &Life) -> Timestamp {
    let running = view.running_since.unwrap_or_default();
    // A supervisor that did not answer says nothing about its processes; they count as at the last look.
    let pinned = running
        .iter()
        .map(|since| since.plus_ms(view.ceiling_ms))
        .max()
        .filter(|until| *until > view.now);
    let active = life.last_busy_at.max(Some(life.last_activity_at));
    let idle = active
        .unwrap_or(life.started_at)
        .plus_ms(view.options.sleep_after_ms);
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
        KeepAliveRequest::Switch(true) => Some(from.plus_ms(ceiling_ms)),
        KeepAliveRequest::Lease { max_ms } => Some(from.plus_ms(max_ms.min(ceiling_ms))),
    }
}

#[cfg(test)]
mod tests;
