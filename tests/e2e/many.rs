//! Many builds at once, a third of them cut off at a random moment.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

use futures::future::join_all;
use serde_json::{Value, json};

use crate::harness::{Dev, Sandbox, Setup, within};

const COUNT: usize = 50;

#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn of_many_builds_at_once_each_has_its_record_and_nothing_is_left() {
    let dev = Dev::start(&Setup {
        vars: &[("SANDBOX_HEARTBEAT", "1s")],
        ..Setup::DEFAULT
    });
    let builds = join_all((0..COUNT).map(|number| build(&dev, number))).await;
    println!("{COUNT} builds at once on {:?}", dev.engine);
    for (number, (reason, left)) in builds.iter().enumerate() {
        let wanted = if is_cut(number) {
            "clientGone"
        } else {
            "exited"
        };
        assert_eq!(reason, wanted, "build {number}");
        assert!(left.is_empty(), "of build {number} is left: {left:?}");
    }
}

/// Every third.
fn is_cut(number: usize) -> bool {
    number.is_multiple_of(3)
}

/// Runs one build, or hangs up on it in the middle of whatever it does by then; how it ended, and what is left of it.
async fn build(dev: &Dev, number: usize) -> (String, Vec<String>) {
    let sandbox = dev.sandbox();
    // One that is cut off would go on for longer than this test waits.
    let lines = if is_cut(number) { 100_000 } else { 60 };
    let command = format!("for i in $(seq {lines}); do echo line $i; sleep 0.1; done");
    let call = sandbox.post("builds").json(&json!({"command": command}));
    if is_cut(number) {
        let moment = Duration::from_millis(RandomState::new().build_hasher().finish() % 8000);
        let ended = tokio::time::timeout(moment, call.try_send_quietly()).await;
        assert!(ended.is_err(), "build {number} ended by itself");
    } else {
        let events = call.send().await.events().rest().await;
        assert_eq!(events.last().expect("events").kind(), "build");
    }
    let record = within(Duration::from_mins(3), "the final record", last(&sandbox)).await;
    assert_eq!(record["destroyed"], true, "{record}");
    assert_eq!(sandbox.destroys().await, 1);
    let reason = record["reason"].as_str().expect("a reason").to_owned();
    (reason, sandbox.remains())
}

/// The only build of a sandbox, when it has ended.
async fn last(sandbox: &Sandbox<'_>) -> Value {
    let mut ticks = tokio::time::interval(Duration::from_millis(250));
    loop {
        ticks.tick().await;
        let list = sandbox.get("builds").send().await.json().await;
        let record = &list["builds"][0];
        if record["endedAt"].is_string() {
            assert_eq!(list["builds"].as_array().map(Vec::len), Some(1), "{list}");
            break record.clone();
        }
    }
}
