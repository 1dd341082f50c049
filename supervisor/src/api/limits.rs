//! `GET /limits`: every limit in force, and who enforces it.

use axum::extract::State as Shared;
use axum::routing::get;
use axum::{Json, Router};
use sandbox_protocol::limit::{Limit, LimitList};
use sandbox_protocol::process::{DEFAULT_LOG_BYTES, MAX_DURATION_MS};
use sandbox_protocol::request::MAX_JSON_BYTES;

use super::State;
use crate::init;
use crate::logs::MAX_FOLLOWERS;
use crate::rights::MAX_THREADS;

/// What stands for no limit, as in the request of a process.
const UNLIMITED: u64 = 0;

pub(super) fn routes() -> Router<State> {
    Router::new().route("/limits", get(list))
}

async fn list(Shared(state): Shared<State>) -> Json<LimitList> {
    let limit = |name: &str, value, enforced: &str| Limit {
        name: name.to_owned(),
        value,
        enforced: enforced.to_owned(),
    };
    let set = &state.config.limits;
    let groups = state.table.spawner().abilities();
    Json(LimitList {
        limits: vec![
            limit(
                "processes",
                set.processes,
                "a start beyond it is refused with 429",
            ),
            limit(
                "records",
                set.records,
                "the oldest finished record is forgotten",
            ),
            limit(
                "subscribers",
                set.subscribers,
                "a follower beyond it is refused with 429",
            ),
            limit(
                "processSubscribers",
                MAX_FOLLOWERS,
                "a follower of one process beyond it is refused with 429",
            ),
            limit(
                "memoryBytes",
                UNLIMITED,
                trees(groups.is_some_and(|abilities| abilities.memory)),
            ),
            limit(
                "treeProcesses",
                UNLIMITED,
                trees(groups.is_some_and(|abilities| abilities.processes)),
            ),
            limit(
                "descriptors",
                init::descriptor_limit(),
                "a stream or a start beyond it fails",
            ),
            limit(
                "logBytes",
                DEFAULT_LOG_BYTES,
                "the default of a process: its oldest output is dropped and the gap told",
            ),
            limit(
                "allLogBytes",
                set.all_log_bytes,
                "the oldest output of all processes is dropped and the gap told",
            ),
            limit(
                "logMemoryBytes",
                set.log_memory_bytes,
                "recent output beyond it is read from disk",
            ),
            limit(
                "fileTransfers",
                MAX_THREADS as u64,
                "a transfer beyond it waits its turn",
            ),
            limit(
                "bodyBytes",
                MAX_JSON_BYTES,
                "a larger JSON body is refused with 413",
            ),
            limit(
                "durationMs",
                MAX_DURATION_MS,
                "a longer duration is refused with 400",
            ),
        ],
    })
}

/// How a limit of a tree holds, where a control group does it and where none does.
fn trees(by_group: bool) -> &'static str {
    if by_group {
        "none by default; the kernel holds it, in a control group, and a tree that reaches it is ended"
    } else {
        "none by default; a tree is looked at every 250 ms and ended when it has more"
    }
}
