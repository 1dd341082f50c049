//! How long a sandbox stays, and what is told of it when it is gone.

use std::time::Duration;

use futures::future::join_all;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::{Dev, Sandbox, Setup, eventually, within};

async fn state(sandbox: &Sandbox<'_>) -> Value {
    sandbox.get("").send().await.json().await
}

async fn is_gone(sandbox: &Sandbox<'_>, limit: Duration) {
    eventually(limit, "the sandbox to be gone", || {
        sandbox.remains().is_empty().then_some(())
    })
    .await;
}

#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn a_lease_and_a_process_keep_a_sandbox_across_an_eviction_and_no_longer() {
    let dev = Dev::start(&Setup {
        vars: &[("SANDBOX_MAX_KEEPALIVE", "30s")],
        ..Setup::DEFAULT
    });
    let (kept, idle) = (dev.sandbox(), dev.sandbox());
    for (sandbox, keep_alive) in [(&kept, true), (&idle, false)] {
        let options = json!({"sleepAfter": "2s", "keepAlive": keep_alive});
        let answer = sandbox.patch("").json(&options).send().await;
        assert_eq!(answer.status(), 200);
    }
    kept.start_process(&json!({"command": "sleep 1000", "id": "pin"}))
        .await;
    let exec = idle.post("exec").header("Accept", "application/json");
    exec.json(&json!({"command": "true"})).send().await;

    // Nothing is asked of either: the objects are evicted after 10 s, and wake by their alarms alone.
    is_gone(&idle, Duration::from_secs(25)).await;
    let beyond_the_eviction = tokio::time::Instant::now() + Duration::from_secs(14);
    while tokio::time::Instant::now() < beyond_the_eviction {
        assert!(!kept.remains().is_empty(), "it went while its lease ran");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    is_gone(&kept, Duration::from_mins(1)).await;
    let process = kept.get("processes/pin").send().await.json().await;
    assert_eq!(
        (&process["status"], &process["reason"]),
        (&json!("error"), &json!("containerStopped")),
        "{process}"
    );
    assert_eq!(kept.destroys().await, 1);
    eventually(Duration::from_secs(20), "the alarm to be gone", || {
        (!kept.has_alarm() && !idle.has_alarm()).then_some(())
    })
    .await;
    let stopped = state(&kept).await;
    assert_eq!(
        (&stopped["status"], &stopped["keepAlive"]),
        (&json!("stopped"), &Value::Null)
    );
    assert!(kept.remains().is_empty(), "looking started it");
}

#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn a_command_keeps_its_sandbox_until_it_has_answered_and_no_longer() {
    let dev = Dev::shared();
    let (collected, streamed) = (dev.sandbox(), dev.sandbox());
    for sandbox in [&collected, &streamed] {
        let options = json!({"sleepAfter": "2s"});
        let answer = sandbox.patch("").json(&options).send().await;
        assert_eq!(answer.status(), 200);
    }
    let command = json!({"command": "sleep 14; echo still there"});
    let exec = |sandbox: &Sandbox<'_>, accept: &str| {
        let call = sandbox.post("exec").header("Accept", accept);
        call.json(&command).send()
    };
    let (whole, events) = tokio::join!(
        async { exec(&collected, "application/json").await.json().await },
        async { exec(&streamed, "text/event-stream").await.text().await },
    );
    assert_eq!(whole["stdout"], "still there\n", "{whole}");
    assert!(events.contains(r#"{"exit_code":0}"#), "{events}");
    for sandbox in [&collected, &streamed] {
        is_gone(sandbox, Duration::from_secs(25)).await;
        assert_eq!(sandbox.destroys().await, 1);
    }
}

#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn activity_is_seen_at_once_and_looking_is_none() {
    let sandbox = Dev::shared().sandbox();
    let started = json!({"command": "echo out; sleep 1000", "id": "a"});
    sandbox.start_process(&started).await;
    let active = async || state(&sandbox).await["lastActivityAt"].clone();
    let before = active().await;
    sandbox.get("processes/a/logs").send().await.json().await;
    sandbox.get("processes").send().await.json().await;
    assert_eq!(active().await, before, "looking is none");
    let exec = sandbox.post("exec").header("Accept", "application/json");
    exec.json(&json!({"command": "true"}))
        .send()
        .await
        .json()
        .await;
    assert!(active().await.as_str() > before.as_str(), "a command is");
    assert_eq!(sandbox.delete("").send().await.status(), 204);
}

#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn options_lease_and_processes_survive_the_death_of_workerd() {
    let dev = Dev::start(&Setup::DEFAULT);
    let sandbox = dev.sandbox();
    sandbox
        .start_process(&json!({"command": "sleep 1000", "id": "stays"}))
        .await;
    let options = json!({"sleepAfter": "77s", "keepAlive": {"maxMs": 600_000}, "env": {"A": "b"}});
    let answer = sandbox.patch("").json(&options).send().await;
    let before = answer.json().await;
    assert_eq!(before["sleepAfterMs"], 77_000, "{before}");

    dev.kill_workerd();
    let after = within(Duration::from_mins(1), "the next workerd", async {
        loop {
            match sandbox.get("").try_send().await {
                Ok(answer) if answer.status() == 200 => break answer.json().await,
                _ => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    })
    .await;
    for field in ["status", "sleepAfterMs", "keepAlive", "bootId", "startedAt"] {
        assert_eq!(before[field], after[field], "{field} of {after}");
    }
    let process = sandbox.get("processes/stays").send().await.json().await;
    assert_eq!(process["status"], "running", "{process}");
    assert_eq!(sandbox.delete("").send().await.status(), 204);
}

#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn a_process_whose_container_dies_is_on_record_as_lost() {
    let sandbox = Dev::shared().sandbox();
    sandbox
        .start_process(&json!({"command": "sleep 1000", "id": "victim"}))
        .await;
    sandbox.kill_container();
    is_gone(&sandbox, Duration::from_secs(30)).await;

    let process = within(Duration::from_mins(1), "the final record", async {
        loop {
            let process = sandbox.get("processes/victim").send().await.json().await;
            if process["status"] == "error" {
                break process;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    })
    .await;
    assert_eq!(
        (&process["reason"], &process["exitCode"]),
        (&json!("lost"), &Value::Null),
        "{process}"
    );
    let wait = sandbox.post("processes/victim/wait");
    let met = wait.json(&json!({"exit": true})).send().await;
    assert_eq!(
        (met.status(), met.json().await["reason"].clone()),
        (200, json!("lost"))
    );
    let stats = sandbox.get("processes/victim/stats").send().await;
    assert_eq!(stats.json().await["processes"], 0);
    assert!(sandbox.remains().is_empty(), "looking started it");
}

#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn a_call_in_flight_during_a_destroy_is_interrupted_and_starts_nothing() {
    let sandbox = Dev::shared().sandbox();
    let request = json!({"command": "trap '' TERM; while :; do sleep 1; done", "id": "slow"});
    sandbox.start_process(&request).await;
    let wait = sandbox.post("processes/slow/wait");
    let wait = wait.json(&json!({"log": "never", "timeoutMs": 60000}));
    let wait = tokio::spawn(async move { wait.send().await.json().await });
    let destroy = tokio::spawn(sandbox.delete("").try_send_quietly());
    within(Duration::from_secs(30), "the destroy to begin", async {
        while state(&sandbox).await["status"] != "stopping" {}
    })
    .await;
    let late = sandbox
        .post("exec")
        .json(&json!({"command": "true"}))
        .send()
        .await;
    assert_eq!(late.status(), 409);
    let late = late.json().await;
    assert_eq!(
        (&late["code"], &late["context"]["retryable"]),
        (&json!("OPERATION_INTERRUPTED"), &json!(true)),
        "{late}"
    );
    destroy.await.unwrap();
    let waited = within(Duration::from_secs(10), "the wait to end", wait)
        .await
        .unwrap();
    assert!(
        ["OPERATION_INTERRUPTED", "PROCESS_EXITED_BEFORE_READY"]
            .contains(&waited["code"].as_str().unwrap_or_default()),
        "{waited}"
    );
    assert_eq!(sandbox.destroys().await, 1);
    assert!(sandbox.remains().is_empty());
    assert_eq!(state(&sandbox).await["status"], "stopped");
}

#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn a_scope_that_ends_without_a_word_destroys_its_sandbox() {
    let dev = Dev::start(&Setup {
        vars: &[("SANDBOX_HEARTBEAT", "1s")],
        ..Setup::DEFAULT
    });
    let (left, died, closed) = (dev.sandbox(), dev.sandbox(), dev.sandbox());
    let mut streams = Vec::new();
    for sandbox in [&left, &died, &closed] {
        let mut events = sandbox.post("scope").send().await.events();
        let opened = events.until("scope").await.data;
        let id = opened["scopeId"].as_str().expect("an id").to_owned();
        streams.push((events, id));
    }
    let (stream, id) = streams.pop().expect("three");
    let ended = closed.delete(&format!("scope/{id}")).send().await;
    assert_eq!(ended.status(), 204);
    assert!(stream.rest().await.is_empty());
    assert_eq!(
        closed.delete(&format!("scope/{id}")).send().await.status(),
        204
    );
    let (stream, _) = streams.remove(0);
    drop(stream);
    is_gone(&left, Duration::from_mins(1)).await;
    assert!(!died.remains().is_empty(), "its scope is held");
    dev.reload();
    is_gone(&died, Duration::from_secs(90)).await;
    assert!(
        !closed.remains().is_empty(),
        "its scope was closed in order"
    );
    for sandbox in [&left, &died] {
        let log = sandbox.get("events").send().await.json().await;
        let last = log["events"]
            .as_array()
            .and_then(|events| events.last().cloned());
        assert_eq!(last.expect("an event")["detail"], "scopeEnded", "{log}");
    }
}

#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn a_lease_that_is_made_shorter_ends_sooner() {
    let sandbox = Dev::shared().sandbox();
    let set = async |options: Value| {
        let answer = sandbox.patch("").json(&options).send().await;
        assert_eq!(answer.status(), 200);
        answer.json().await
    };
    set(json!({"sleepAfter": "1s", "keepAlive": true})).await;
    let exec = sandbox.post("exec").header("Accept", "application/json");
    exec.json(&json!({"command": "true"})).send().await;
    let long = state(&sandbox).await;
    let short = set(json!({"keepAlive": {"maxMs": 3000}})).await;
    let expires = |state: &Value| state["keepAlive"]["expiresAt"].as_str().map(str::to_owned);
    assert!(expires(&short).is_some(), "{short}");
    assert!(expires(&short) < expires(&long), "{short} after {long}");
    is_gone(&sandbox, Duration::from_secs(20)).await;
    assert_eq!(sandbox.destroys().await, 1);
}

#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn destroys_at_once_share_one_receipt() {
    let sandbox = Dev::shared().sandbox();
    let stubborn = json!({"command": "trap '' TERM; while :; do sleep 1; done", "id": "slow"});
    sandbox.start_process(&stubborn).await;
    let destroy = || async {
        let call = sandbox
            .delete("")
            .header("Prefer", "return=representation")
            .send();
        let answer = call.await;
        (answer.status(), answer.json().await)
    };
    let receipts = join_all((0..8).map(|_| destroy())).await;
    let (status, first) = &receipts[0];
    assert_eq!(*status, 200, "{first}");
    assert_eq!(first["wasRunning"], true, "{first}");
    assert_eq!(first["processes"][0]["id"], "slow", "{first}");
    for receipt in &receipts {
        assert_eq!(receipt, &receipts[0]);
    }
    assert_eq!(sandbox.destroys().await, 1);
    assert!(sandbox.remains().is_empty());
}

#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn an_upload_in_flight_during_a_destroy_is_interrupted() {
    let dev = Dev::shared();
    let sandbox = dev.sandbox();
    sandbox
        .start_process(&json!({"command": "sleep 1000"}))
        .await;
    let mut upload = dev.connect().await;
    let head = format!(
        "PUT {} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\nthe beginning",
        sandbox.path("file/workspace/never")
    );
    upload
        .write_all(head.as_bytes())
        .await
        .expect("it takes a beginning");
    let seen = sandbox.post("exec").header("Accept", "application/json");
    let found = json!({"command": "until ls -A /workspace | grep .; do sleep 0.1; done", "timeoutMs": 20_000});
    let seen = seen.json(&found).send().await.json().await;
    assert_eq!(seen["success"], true, "the upload has begun: {seen}");
    assert_eq!(sandbox.delete("").send().await.status(), 204);

    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    within(Duration::from_secs(30), "the answer to the upload", async {
        while !String::from_utf8_lossy(&answer).contains("retryable") {
            let read = upload.read(&mut buffer).await.expect("an answer");
            assert!(read > 0, "{}", String::from_utf8_lossy(&answer));
            answer.extend_from_slice(&buffer[..read]);
        }
    })
    .await;
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 409 "), "{answer}");
    assert!(
        answer.contains(r#""code":"OPERATION_INTERRUPTED""#),
        "{answer}"
    );
    assert!(answer.contains(r#""retryable":true"#), "{answer}");
    assert!(sandbox.remains().is_empty(), "it brought the sandbox back");
}
