//! What a tree may use: held by its control group, or else watched, four looks a second at trees with a limit.

use std::future::pending;
use std::time::Duration;

use sandbox_protocol::process::Limits;
use tokio::time::{MissedTickBehavior, interval};

use super::state::Cause;
use super::tree::Tree;

/// The time between two looks.
const INTERVAL: Duration = Duration::from_millis(250);

/// Resolves when `tree` has more than `limits` allow; never where they allow everything.
pub(super) async fn exceeded(tree: Tree, limits: Limits) -> Cause {
    let Some(group) = tree.group() else {
        return watched(&tree, limits).await;
    };
    tokio::select! {
        cause = group.exceeded() => cause,
        cause = watched(&tree, group.unheld(limits)) => cause,
    }
}

async fn watched(tree: &Tree, limits: Limits) -> Cause {
    if limits.memory_bytes == 0 && limits.processes == 0 {
        return pending().await;
    }
    let mut looks = interval(INTERVAL);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        if let Some(cause) = tree.blocking(move |tree| look(tree, limits)).await {
            return cause;
        }
    }
}

fn look(tree: &Tree, limits: Limits) -> Option<Cause> {
    let members = tree.members();
    let pages: u64 = members.iter().map(|(_, stat)| stat.rss_pages).sum();
    let bytes = pages.saturating_mul(rustix::param::page_size() as u64);
    // As a control group counts: a process has a thread, and may have more.
    let threads: u64 = members.iter().map(|(_, stat)| stat.threads).sum();
    let over = |limit: u64, used: u64| limit > 0 && used > limit;
    if over(limits.memory_bytes, bytes) {
        return Some(Cause::Oom);
    }
    over(limits.processes, threads).then_some(Cause::ProcessLimit)
}
