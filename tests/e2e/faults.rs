//! The object dies in the middle of a build.

use std::time::Duration;

use serde_json::json;

use rustix::process::Signal;

use crate::harness::{Dev, Event, Setup, eventually, within};

/// Short, so that a test does not wait half a minute for a client that does not come back.
const SETUP: Setup<'_> = Setup {
    vars: &[
        ("SANDBOX_REATTACH_GRACE", "4s"),
        ("SANDBOX_HEARTBEAT", "2s"),
    ],
    ..Setup::DEFAULT
};

#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn a_build_whose_object_dies_is_cancelled_when_its_client_does_not_come_back() {
    let dev = Dev::start(&SETUP);
    let sandbox = dev.sandbox();
    let command = "for i in $(seq 1000); do echo line $i; sleep 0.1; done";
    let (build, mut events) = sandbox.start_build(&json!({"command": command})).await;
    events.until("stdout").await;
    dev.reload();
    let cut = events.rest().await;
    assert!(
        cut.iter()
            .all(|event| !["exit", "build"].contains(&event.kind())),
        "{cut:?}"
    );

    // No request from outside: the sandbox ends by itself.
    eventually(
        Duration::from_secs(90),
        "the sandbox to end by itself",
        || sandbox.remains().is_empty().then_some(()),
    )
    .await;
    let record = within(Duration::from_secs(30), "the final record", async {
        let logs = format!("builds/{build}/logs?follow=true");
        sandbox
            .get(&logs)
            .send()
            .await
            .events()
            .until("build")
            .await
            .data
    })
    .await;
    assert_eq!(
        (&record["status"], &record["reason"]),
        (&json!("cancelled"), &json!("clientGone")),
        "{record}"
    );
    assert_eq!(record["logComplete"], true);
    assert_eq!(sandbox.destroys().await, 1);
}

#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn a_build_that_ends_while_its_object_is_dead_is_finished() {
    let dev = Dev::start(&SETUP);
    let sandbox = dev.sandbox();
    let request = json!({"command": "echo begun; sleep 2; echo done", "onDisconnect": "continue"});
    let (build, mut events) = sandbox.start_build(&request).await;
    events.until("stdout").await;
    dev.reload();
    events.rest().await;

    eventually(
        Duration::from_secs(90),
        "the sandbox to end by itself",
        || sandbox.remains().is_empty().then_some(()),
    )
    .await;
    let logs = format!("builds/{build}/logs?follow=true");
    let events = sandbox.get(&logs).send().await.events().rest().await;
    let closing = &events.last().unwrap().data;
    assert_eq!(
        (&closing["status"], &closing["exitCode"]),
        (&json!("succeeded"), &json!(0)),
        "{closing}"
    );
    let printed: String = events
        .iter()
        .filter(|event| event.kind() == "stdout")
        .map(Event::text)
        .collect();
    assert_eq!(printed, "begun\ndone\n");
    assert_eq!(sandbox.destroys().await, 1);
}

#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn a_client_that_comes_back_in_time_gets_every_line_once() {
    let dev = Dev::start(&SETUP);
    let sandbox = dev.sandbox();
    let command = "for i in $(seq 150); do echo line $i; sleep 0.1; done";
    let (build, mut stream) = sandbox.start_build(&json!({"command": command})).await;
    let mut seen = vec![stream.until("stdout").await];
    dev.reload();
    while let Some(event) = stream.next().await {
        seen.push(event);
    }

    let logs = format!("builds/{build}/logs?follow=true");
    dev.reloaded().await;
    let last = seen.last().unwrap().id.clone();
    let call = sandbox.get(&logs).header("Last-Event-ID", &last);
    let rest = call.send().await.events().rest().await;
    seen.extend(rest);
    let closing = &seen.last().unwrap().data;
    assert_eq!(
        (&closing["status"], &closing["exitCode"]),
        (&json!("succeeded"), &json!(0)),
        "{closing}"
    );
    let printed: String = seen
        .iter()
        .filter(|event| event.kind() == "stdout")
        .map(Event::text)
        .collect();
    let written: String = (1..=150).map(|i| format!("line {i}\n")).collect();
    assert_eq!(printed, written);
    assert_eq!(sandbox.remains(), Vec::<String>::new());
    assert_eq!(sandbox.destroys().await, 1);
}

#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn a_build_whose_supervisor_was_killed_is_called_destroyed_when_nothing_is_listed() {
    let sandbox = Dev::shared().sandbox();
    let request = json!({"command": "echo begun; sleep 1000", "onDisconnect": "continue"});
    let (build, mut events) = sandbox.start_build(&request).await;
    events.until("stdout").await;
    sandbox.signal_supervisor(Signal::KILL);
    events.rest().await;

    let logs = format!("builds/{build}/logs?follow=true");
    let mut rest = sandbox.get(&logs).send().await.events();
    let closing = rest.until("build").await.data;
    assert_eq!(sandbox.remains(), Vec::<String>::new(), "{closing}");
    assert_eq!(
        (&closing["reason"], &closing["destroyed"]),
        (&json!("containerDied"), &json!(true)),
        "{closing}"
    );
    assert_eq!(sandbox.destroys().await, 1);
}
