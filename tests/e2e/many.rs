//! Many builds at once, a third of them cut off at a random moment.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

use futures::future::join_all;
use serde_json::{Value, json};

use crate::harness::{Dev, Engine, Sandbox, Setup, within};

#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn of_many_builds_at_once_each_has_its_record_and_nothing_is_left() {
    let dev = Dev::start(&Setup {
        vars: &[("SANDBOX_HEARTBEAT", "1s")],
        ..Setup::DEFAULT
    });
    // A container takes a sidecar, and a machine of two cores seconds for each.
    let count = match dev.engine {
        Engine::Local => 50,
        Engine::Docker => 9,
    };
    let builds = join_all((0..count).map(|number| build(&dev, number))).await;
    let cut = builds.iter().filter(|(reason, _)| reason == "clientGone");
    let cut = cut.count();
    println!(
        "{count} builds, {cut} of them cancelled by a hang-up, on {:?}",
        dev.engine
    );
    assert!(cut > 0, "no hang-up was noticed");
    for (number, (reason, left)) in builds.iter().enumerate() {
        let cut = number % 3 == 0;
        assert!(
            reason == "exited" || cut && reason == "clientGone",
            "build {number} ended {reason}"
        );
        assert!(left.is_empty(), "of build {number} is left: {left:?}");
    }
}

/// Runs one build and hangs up on every third; how it ended, and what is left of it.
async fn build(dev: &Dev, number: u64) -> (String, Vec<String>) {
    let sandbox = dev.sandbox();
    let request = json!({"command": "for i in $(seq 60); do echo line $i; sleep 0.1; done"});
    let call = sandbox.post("builds").json(&request);
    if number.is_multiple_of(3) {
        let moment = Duration::from_millis(RandomState::new().build_hasher().finish() % 8000);
        // Cut in the middle of whatever it does by then.
        let _ = tokio::time::timeout(moment, call.try_send_quietly()).await;
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
