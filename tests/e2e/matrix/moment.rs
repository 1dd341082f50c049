//! Bringing a build to its moment.

use std::time::Duration;

use serde_json::{Value, json};

use super::fault::Fault;
use super::fault::Fault::ClientGone;
use super::fault::Moment::{self, AfterTheEnd, BeforeContainer, DuringBuild, WhileDestroying};
use crate::harness::{Dev, Events, Sandbox, within};

/// Prints until it is ended.
const TALKS: &str = "for i in $(seq 100000); do echo line $i; sleep 0.1; done";

/// The same, and takes the three seconds of grace to end.
const RESISTS: &str =
    "trap '' TERM; for i in $(seq 100000); do echo line $i; sleep 0.1 || true; done";

/// Ends by itself.
const BRIEF: &str = "for i in 1 2 3; do echo line $i; sleep 0.1; done";

/// A build at its moment.
pub(super) struct Subject<'dev> {
    pub(super) sandbox: Sandbox<'dev>,
    pub(super) moment: Moment,
    pub(super) build: String,
    pub(super) stream: Option<Events>,
    /// Its record before the fault.
    pub(super) before: Value,
}

/// Brings a build to its moment; another one where a loaded machine let it pass unseen.
pub(super) async fn bring(dev: &Dev, fault: Fault, moment: Moment) -> Subject<'_> {
    for _ in 0..5 {
        let subject = try_to_bring(dev, fault, moment).await;
        if moment == AfterTheEnd || subject.before["endedAt"].is_null() {
            return subject;
        }
    }
    panic!("{moment:?} was missed five times");
}

async fn try_to_bring(dev: &Dev, fault: Fault, moment: Moment) -> Subject<'_> {
    let sandbox = dev.sandbox();
    let start = |command: &str| sandbox.post("builds").json(&json!({"command": command}));
    let (build, stream) = match moment {
        BeforeContainer if fault == ClientGone => {
            let call = tokio::spawn(start(TALKS).try_send_quietly());
            let build = first_build(&sandbox).await;
            call.abort();
            (build, None)
        }
        BeforeContainer => {
            let command = if fault.is_of_the_server() {
                BRIEF
            } else {
                TALKS
            };
            let call = start(command).header("Prefer", "respond-async");
            let record = call.send().await.json().await;
            (record["id"].as_str().expect("an id").to_owned(), None)
        }
        AfterTheEnd => {
            let answer = start(BRIEF).send().await;
            let build = answer.header("Sandbox-Build-Id").to_owned();
            answer.events().rest().await;
            (build, None)
        }
        DuringBuild | WhileDestroying => {
            let command = if moment == DuringBuild {
                TALKS
            } else {
                RESISTS
            };
            let answer = start(command).send().await;
            let build = answer.header("Sandbox-Build-Id").to_owned();
            let mut events = answer.events();
            events.until("stdout").await;
            until(&sandbox, &build, "a saved log", |record| {
                record["logBytes"].as_u64() > Some(0)
            })
            .await;
            if moment == WhileDestroying {
                let cancel = sandbox.delete(&format!("builds/{build}"));
                tokio::spawn(cancel.try_send_quietly());
                until(&sandbox, &build, "the destroy", |record| {
                    record["status"] == "destroying" || record["endedAt"].is_string()
                })
                .await;
            }
            (build, Some(events))
        }
    };
    let before = if moment == BeforeContainer {
        Value::Null
    } else {
        sandbox.build(&build).await
    };
    Subject {
        sandbox,
        moment,
        build,
        stream,
        before,
    }
}

/// The id of the first build of a sandbox, as soon as it is written down.
async fn first_build(sandbox: &Sandbox<'_>) -> String {
    within(Duration::from_secs(30), "the build's row", async {
        loop {
            let list = sandbox.get("builds").send().await.json().await;
            if let Some(id) = list["builds"][0]["id"].as_str() {
                break id.to_owned();
            }
        }
    })
    .await
}

/// Asks for the record until it is as wanted.
pub(super) async fn until(
    sandbox: &Sandbox<'_>,
    build: &str,
    what: &str,
    wanted: impl Fn(&Value) -> bool,
) -> Value {
    within(Duration::from_mins(2), what, async {
        let mut ticks = tokio::time::interval(Duration::from_millis(100));
        loop {
            ticks.tick().await;
            let call = sandbox.get(&format!("builds/{build}"));
            if let Ok(answer) = call.try_send().await
                && answer.status() == 200
            {
                let record = answer.json().await;
                if wanted(&record) {
                    break record;
                }
            }
        }
    })
    .await
}
