//! What is kept of a sandbox when its container is gone: how long, through what, and that looking starts nothing.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Dev, Sandbox, Setup, within};

/// A build and a process that have ended, in a sandbox that sleeps; the build's id.
async fn history(sandbox: &Sandbox<'_>) -> String {
    let (build, events) = sandbox.start_build(&json!({"command": "echo built"})).await;
    events.rest().await;
    let request = json!({"command": "echo served; sleep 1000", "id": "p"});
    let answer = sandbox.post("processes").json(&request).send().await;
    assert_eq!(answer.status(), 201, "{}", answer.text().await);
    assert_eq!(sandbox.delete("").send().await.status(), 204);
    build
}

/// The paths below a sandbox that the service says it answers to a `GET`, with names filled in.
async fn paths_to_get(dev: &Dev, build: &str) -> Vec<String> {
    let api = dev.get("/v1/openapi.json").send().await.json().await;
    let paths = api["paths"].as_object().expect("paths");
    let below = "/v1/sandbox/{sandbox}";
    let gets = paths
        .iter()
        .filter(|(_, methods)| methods["get"].is_object());
    let mut found: Vec<String> = gets
        .filter_map(|(path, _)| path.strip_prefix(below))
        .map(|path| {
            path.trim_start_matches('/')
                .replace("{build}", build)
                .replace("{process}", "p")
                .replace("{port}", "8080")
                .replace("{path}", "workspace")
        })
        .collect();
    // These two may start it, by the contract.
    found.retain(|path| path != "pty" && !path.starts_with("ports/"));
    let logs = found.iter().filter(|path| path.ends_with("/logs"));
    let follows: Vec<String> = logs.map(|path| format!("{path}?follow=true")).collect();
    found.extend(follows);
    found
}

#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn a_get_of_anything_on_a_sleeping_sandbox_starts_nothing() {
    let dev = Dev::shared();
    let (slept, fresh) = (dev.sandbox(), dev.sandbox());
    let build = history(&slept).await;
    let paths = paths_to_get(dev, &build).await;
    assert!(paths.len() >= 14, "{paths:?}");
    for sandbox in [&slept, &fresh] {
        for path in &paths {
            let status = sandbox.get(path).send().await.status();
            let known = sandbox.id == slept.id;
            let named = path.starts_with("builds/") || path.starts_with("processes/");
            assert!(
                status == if named && !known { 404 } else { 200 } || status == 409,
                "GET {path}: {status}"
            );
            assert!(sandbox.remains().is_empty(), "GET {path} started it");
        }
        let list = dev.get("/v1/sandbox?limit=100").send().await;
        assert_eq!(list.status(), 200);
        assert!(sandbox.remains().is_empty(), "the list started it");
    }
    let log = slept.get("events").send().await.json().await;
    let events = log["events"].as_array().expect("a list").iter();
    let starts = events.filter(|event| event["event"] == "starting").count();
    assert_eq!(starts, 2, "the build and the process: {log}");
    let tables = fresh.stored("SELECT name FROM sqlite_master WHERE name = 'facts'");
    assert!(tables.is_empty(), "looking wrote something");
}

#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn the_limits_of_the_last_container_are_told_when_it_is_gone() {
    let sandbox = Dev::shared().sandbox();
    let asked = sandbox.get("limits").send().await;
    let (status, error) = (asked.status(), asked.json().await);
    assert_eq!(
        (status, &error["code"]),
        (409, &json!("SANDBOX_NOT_RUNNING")),
        "{error}"
    );
    assert!(
        error["error"].as_str().unwrap().contains("never run"),
        "{error}"
    );

    let request = json!({"command": "sleep 1000"});
    sandbox.start_process(&request).await;
    let awake = sandbox.get("limits").send().await.json().await;
    assert!(
        awake["limits"]
            .as_array()
            .is_some_and(|limits| limits.len() > 3),
        "{awake}"
    );
    assert_eq!(sandbox.delete("").send().await.status(), 204);
    let asleep = sandbox.get("limits").send().await;
    assert_eq!(asleep.status(), 200);
    assert_eq!(asleep.json().await, awake);
    assert!(sandbox.remains().is_empty(), "looking started it");
}

#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn what_is_older_than_the_retention_is_deleted() {
    let dev = Dev::start(&Setup {
        vars: &[("SANDBOX_RETENTION", "5s")],
        ..Setup::DEFAULT
    });
    let sandbox = dev.sandbox();
    history(&sandbox).await;
    let rows = |table: &str| {
        let counted = sandbox.stored(&format!("SELECT COUNT(*) AS count FROM {table}"));
        counted[0]["count"].as_u64().expect("a count")
    };
    for table in ["builds", "build_logs", "processes", "events"] {
        assert!(rows(table) > 0, "{table}");
    }
    // What is waited for is age itself.
    tokio::time::sleep(Duration::from_secs(6)).await;
    // Old rows go when the sandbox next stops, or when a fresh object is asked; here it starts and stops.
    let exec = sandbox.post("exec").header("Accept", "application/json");
    assert_eq!(
        exec.json(&json!({"command": "true"})).send().await.status(),
        200
    );
    assert_eq!(sandbox.delete("").send().await.status(), 204);
    for table in ["builds", "build_logs", "processes"] {
        assert_eq!(rows(table), 0, "{table}");
    }
    let log = sandbox.get("events").send().await.json().await;
    let events = log["events"].as_array().expect("a list");
    assert!(!events.is_empty(), "the last life is young");
    assert!(events.iter().all(|event| event["generation"] == 3), "{log}");
    let builds = sandbox.get("builds").send().await.json().await;
    assert_eq!(builds, json!({"builds": []}));
}

#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn of_many_records_the_newest_are_kept() {
    let sandbox = Dev::shared().sandbox();
    let request = json!({"command": "sleep 1000", "id": "keeps-it-awake"});
    sandbox.start_process(&request).await;
    let mut refused = Vec::new();
    for _ in 0..53 {
        let build = json!({"command": "true", "cwd": "/nowhere"});
        let answer = sandbox.post("builds").json(&build).send().await;
        assert_eq!(answer.status(), 400);
        refused.push(answer.header("Sandbox-Build-Id").to_owned());
    }
    let builds = sandbox.get("builds").send().await.json().await;
    let kept = builds["builds"].as_array().expect("a list").iter();
    let kept: Vec<&str> = kept.map(|build| build["id"].as_str().unwrap()).collect();
    let newest: Vec<&str> = refused.iter().rev().take(50).map(String::as_str).collect();
    assert_eq!(kept, newest);
    assert_eq!(
        sandbox
            .get(&format!("builds/{}", refused[0]))
            .send()
            .await
            .status(),
        404
    );

    for number in 1..=500_u32 {
        let lease = json!({"keepAlive": {"maxMs": 3_600_000 + number}});
        assert_eq!(sandbox.patch("").json(&lease).send().await.status(), 200);
    }
    let log = sandbox.get("events").send().await.json().await;
    let events = log["events"].as_array().expect("a list");
    assert_eq!(events.len(), 500);
    assert!(
        events.iter().all(|event| event["event"] == "lease"),
        "{log}"
    );
    assert_eq!(sandbox.delete("").send().await.status(), 204);
}

#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn options_and_records_survive_a_restart_of_everything() {
    let dev = Dev::start(&Setup::DEFAULT);
    let sandbox = dev.sandbox();
    let build = history(&sandbox).await;
    let options = json!({"sleepAfter": "77s", "env": {"GREETING": "kept"}});
    assert_eq!(sandbox.patch("").json(&options).send().await.status(), 200);
    let logs = format!("builds/{build}/logs");
    let paths = [
        "",
        "events",
        "builds",
        "processes",
        "processes/p",
        "limits",
        &logs,
    ];
    let look = async || {
        let mut seen: Vec<Value> = Vec::new();
        for path in paths {
            let answer = sandbox.get(path).send().await;
            assert_eq!(answer.status(), 200, "{path}");
            seen.push(answer.json().await);
        }
        seen
    };
    let before = look().await;
    dev.restart();
    let after = look().await;
    for (path, (before, after)) in paths.iter().zip(before.iter().zip(&after)) {
        assert_eq!(before, after, "{path}");
    }
    assert!(sandbox.remains().is_empty(), "looking started it");
    let exec = sandbox.post("exec").header("Accept", "application/json");
    let said = exec
        .json(&json!({"command": "echo $GREETING"}))
        .send()
        .await;
    let said = within(Duration::from_mins(1), "the next container", said.json()).await;
    assert_eq!(said["stdout"], "kept\n", "{said}");
}

#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn a_process_that_was_forgotten_stays_so_when_its_container_is_gone() {
    let sandbox = Dev::shared().sandbox();
    for id in ["kept", "forgotten"] {
        sandbox
            .start_process(&json!({"command": "true", "id": id}))
            .await;
    }
    let forgotten = sandbox.delete("processes/forgotten").send().await;
    assert_eq!(forgotten.status(), 200);
    assert_eq!(sandbox.delete("").send().await.status(), 204);
    let list = sandbox.get("processes").send().await.json().await;
    let ids: Vec<&Value> = list["processes"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|process| &process["id"])
        .collect();
    assert_eq!(ids, [&json!("kept")]);
    let answer = sandbox.get("processes/forgotten").send().await;
    assert_eq!(answer.status(), 404);
}

#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn a_name_of_an_earlier_container_is_at_once_that_of_the_present_process() {
    let sandbox = Dev::shared().sandbox();
    for id in ["again", "earlier"] {
        sandbox
            .start_process(&json!({"command": "echo first", "id": id, "ready": {"exit": true}}))
            .await;
    }
    assert_eq!(sandbox.delete("").send().await.status(), 204);
    // It never becomes ready: the answer of its start is a refusal, and it runs.
    let unready = json!({"command": "sleep 1000", "id": "again", "ready": {"log": "never"}, "readyTimeoutMs": 500});
    let answer = sandbox.post("processes").json(&unready).send().await;
    assert_eq!(answer.status(), 408, "{}", answer.text().await);
    let process = sandbox.get("processes/again").send().await.json().await;
    assert_eq!(process["status"], "running", "{process}");
    let earlier = sandbox.get("processes/earlier").send().await.json().await;
    assert_eq!(
        earlier["status"], "completed",
        "of the container before: {earlier}"
    );
    let kill = sandbox.post("processes/again/kill").json(&json!({}));
    let receipt = kill.send().await.json().await;
    assert_eq!(
        receipt["signalled"].as_array().map(Vec::len),
        Some(1),
        "{receipt}"
    );
    let kill = sandbox.post("processes/earlier/kill").json(&json!({}));
    let receipt = kill.send().await.json().await;
    assert_eq!(receipt["signalled"], json!([]), "{receipt}");
    assert_eq!(sandbox.delete("").send().await.status(), 204);
}

#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn the_tail_of_a_kept_log_is_as_long_as_is_asked_for() {
    let sandbox = Dev::shared().sandbox();
    let (build, events) = sandbox
        .start_build(&json!({"command": "printf 'a\nb\nc'"}))
        .await;
    events.rest().await;
    for (lines, wanted) in [(0, ""), (1, "c"), (2, "b\nc"), (9, "a\nb\nc")] {
        let tail = sandbox.get(&format!("builds/{build}/logs?tail={lines}"));
        let tail = tail.header("Accept", "text/plain").send().await;
        assert_eq!(tail.text().await, wanted, "{lines}");
    }
}
