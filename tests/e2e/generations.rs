//! What belongs to an earlier container of a sandbox never touches the present one.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Dev, Sandbox, within};

/// Starts the process `p`, which prints one line and stays; its record.
async fn start(sandbox: &Sandbox<'_>) -> Value {
    let request = json!({"command": "echo begun; sleep 1000", "id": "p"});
    let answer = sandbox.post("processes").json(&request).send().await;
    let (status, process) = (answer.status(), answer.json().await);
    assert_eq!(status, 201, "{process}");
    process
}

/// The cursor after the first line of `p`.
async fn cursor(sandbox: &Sandbox<'_>) -> String {
    let mut events = sandbox
        .get("processes/p/logs?follow=true")
        .send()
        .await
        .events();
    events.until("stdout").await.id
}

/// The process `p` is the one of the present container, which nobody has destroyed.
async fn is_untouched(sandbox: &Sandbox<'_>, process: &Value) {
    let now = sandbox.get("processes/p").send().await.json().await;
    assert_eq!(now, *process);
    let state = sandbox.get("").send().await.json().await;
    assert_eq!(state["status"], "running", "{state}");
    assert_eq!(state["bootId"], process["bootId"], "{state}");
    let log = sandbox.get("events").send().await.json().await;
    let events = log["events"].as_array().expect("a list");
    let of = |event: &str| {
        let found = events.iter().filter(|entry| entry["event"] == event);
        found
            .map(|entry| entry["generation"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(of("destroyed"), [1], "{log}");
    assert_eq!(of("running"), [1, 2], "{log}");
}

#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn a_cursor_of_an_earlier_container_is_stale() {
    let sandbox = Dev::shared().sandbox();
    start(&sandbox).await;
    let earlier = cursor(&sandbox).await;
    assert_eq!(sandbox.delete("").send().await.status(), 204);
    let process = start(&sandbox).await;
    let present = cursor(&sandbox).await;

    for follow in [false, true] {
        let logs = format!("processes/p/logs?follow={follow}");
        let by_header = sandbox.get(&logs).header("Last-Event-ID", &earlier);
        let by_query = sandbox.get(&format!("{logs}&since={earlier}"));
        for call in [by_header, by_query] {
            let answer = call.send().await;
            let (status, error) = (answer.status(), answer.json().await);
            assert_eq!(
                (status, &error["code"]),
                (409, &json!("STALE_CURSOR")),
                "{error}"
            );
        }
        let fresh = sandbox.get(&logs).header("Last-Event-ID", &present);
        assert_eq!(fresh.send().await.status(), 200);
    }
    is_untouched(&sandbox, &process).await;
    assert_eq!(sandbox.delete("").send().await.status(), 204);
}

#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn a_wait_of_an_earlier_container_ends_with_it() {
    let sandbox = Dev::shared().sandbox();
    start(&sandbox).await;
    let wait = sandbox.post("processes/p/wait");
    let wait = wait.json(&json!({"log": "never", "timeoutMs": 120_000}));
    let wait = tokio::spawn(async move { wait.send().await.json().await });
    let lines = sandbox.get("processes/p/logs?follow=true").send().await;
    let lines = tokio::spawn(lines.events().rest());
    assert_eq!(sandbox.delete("").send().await.status(), 204);
    let process = start(&sandbox).await;

    let waited = within(Duration::from_secs(20), "the wait to end", wait);
    let waited = waited.await.expect("it does not panic");
    let ends = ["OPERATION_INTERRUPTED", "PROCESS_EXITED_BEFORE_READY"];
    assert!(
        ends.contains(&waited["code"].as_str().unwrap_or_default()),
        "{waited}"
    );
    let lines = within(Duration::from_secs(20), "the follow to end", lines);
    let lines = lines.await.expect("it does not panic");
    let begun = lines.iter().filter(|event| event.kind() == "stdout");
    assert_eq!(begun.count(), 1, "{lines:?}");
    is_untouched(&sandbox, &process).await;
    assert_eq!(sandbox.delete("").send().await.status(), 204);
}

#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn the_death_of_an_earlier_container_is_not_told_of_the_present_one() {
    let sandbox = Dev::shared().sandbox();
    start(&sandbox).await;
    sandbox.kill_container();
    // As soon as the death is noticed, which this call may do itself.
    let process = within(Duration::from_secs(30), "the next container", async {
        let mut ticks = tokio::time::interval(Duration::from_millis(50));
        loop {
            ticks.tick().await;
            let request = json!({"command": "echo begun; sleep 1000", "id": "p"});
            let answer = sandbox.post("processes").json(&request).send().await;
            if answer.status() == 201 {
                break answer.json().await;
            }
        }
    })
    .await;
    // Longer than the alarm of a start takes: what it finds is the present container.
    let mut events = sandbox
        .get("processes/p/logs?follow=true")
        .send()
        .await
        .events();
    let later = tokio::time::timeout(Duration::from_secs(15), async {
        while events.next().await.is_some() {}
    });
    assert!(later.await.is_err(), "its log ended");
    is_untouched(&sandbox, &process).await;
    assert_eq!(sandbox.delete("").send().await.status(), 204);
}
