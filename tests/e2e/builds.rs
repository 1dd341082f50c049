//! The main job: a build, its log streamed, its sandbox destroyed, whatever the end.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Dev, Event, Sandbox, eventually};

/// The front-end project of the fixtures as a tar, in the folder `app`.
fn frontend() -> Vec<u8> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/frontend");
    let mut tar = tar::Builder::new(Vec::new());
    for name in [
        "package.json",
        "package-lock.json",
        "build.js",
        "index.html",
        "tsconfig.json",
    ] {
        tar.append_path_with_name(root.join(name), format!("app/{name}"))
            .unwrap();
    }
    tar.append_dir_all("app/src", root.join("src")).unwrap();
    tar.into_inner().unwrap()
}

/// What the events of output say, in their order.
fn printed(events: &[Event]) -> String {
    let output = events
        .iter()
        .filter(|event| ["stdout", "stderr"].contains(&event.kind()));
    output.map(Event::text).collect()
}

/// Nothing of the sandbox is left, it was destroyed once, and the record says how the build ended.
async fn is_over(sandbox: &Sandbox<'_>, closing: &Value) -> Value {
    assert_eq!(closing["type"], "build", "the last event: {closing}");
    assert_eq!(closing["destroyed"], true, "{closing}");
    assert_eq!(sandbox.remains(), Vec::<String>::new(), "what is left");
    assert_eq!(sandbox.destroys().await, 1, "destroys");
    let record = sandbox.build(closing["buildId"].as_str().unwrap()).await;
    for field in [
        "status",
        "reason",
        "exitCode",
        "signal",
        "matched",
        "destroyed",
        "logBytes",
        "logComplete",
    ] {
        assert_eq!(record[field], closing[field], "{field} of {record}");
    }
    let state = sandbox.get("").send().await.json().await;
    assert_eq!(state["status"], "stopped", "{state}");
    record
}

/// Starts a build and reads its stream to the end.
async fn run(sandbox: &Sandbox<'_>, request: Value) -> Vec<Event> {
    sandbox
        .post("builds")
        .json(&request)
        .send()
        .await
        .events()
        .rest()
        .await
}

#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn a_front_end_is_built_its_log_streamed_and_its_sandbox_destroyed() {
    let sandbox = Dev::shared().sandbox();
    let hydrated = sandbox
        .post("hydrate")
        .header("Content-Type", "application/x-tar")
        .body(frontend())
        .send()
        .await;
    assert_eq!(hydrated.status(), 200);
    assert_eq!(hydrated.json().await, json!({"ok": true}));

    let (build, mut events) = sandbox
        .start_build(&json!({
            "command": "npm ci && npm run build:production",
            "cwd": "/workspace/app",
            "until": {"log": "Build complete"},
        }))
        .await;
    let mut seen = Vec::new();
    while !printed(&seen).contains("Cleaning dist/") {
        seen.push(events.next().await.expect("the build prints its steps"));
    }
    // The line is here while the build goes on: it came as it was printed.
    assert_eq!(sandbox.build(&build).await["status"], "running");
    seen.extend(events.rest().await);

    let closing = seen.pop().expect("a closing event");
    let record = is_over(&sandbox, &closing.data).await;
    assert_eq!(
        record["status"],
        "succeeded",
        "{}\n{record}",
        printed(&seen)
    );
    assert_eq!(record["reason"], "matched");
    assert_eq!(record["exitCode"], Value::Null);
    assert_eq!(record["logComplete"], true);
    let kept = sandbox
        .get(&format!("builds/{build}/logs"))
        .header("Accept", "text/plain")
        .send()
        .await
        .text()
        .await;
    assert_eq!(kept, printed(&seen), "the kept log is what was streamed");
    assert!(kept.contains("Build complete"));
}

#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn the_ids_of_a_build_stay_valid_after_its_container_is_gone() {
    let sandbox = Dev::shared().sandbox();
    let command = "for i in 1 2 3 4 5; do echo out $i; echo err $i >&2; sleep 0.05; done";
    let events = run(&sandbox, json!({"command": command})).await;
    let build = events.last().unwrap().data["buildId"]
        .as_str()
        .unwrap()
        .to_owned();
    let logs = format!("builds/{build}/logs?follow=true");

    for (index, event) in events.iter().enumerate() {
        let answer = sandbox
            .get(&logs)
            .header("Last-Event-ID", &event.id)
            .send()
            .await;
        if index + 1 == events.len() {
            assert_eq!(
                answer.status(),
                204,
                "after the closing event there is nothing"
            );
            continue;
        }
        let rest = answer.events().rest().await;
        assert_eq!(
            printed(&rest),
            printed(&events[index + 1..]),
            "after event {index}"
        );
        assert_eq!(rest.last().unwrap().data, events.last().unwrap().data);
    }
    let errors = sandbox
        .get(&format!("builds/{build}/logs?stream=stderr"))
        .send()
        .await
        .json()
        .await;
    assert_eq!(errors["stderr"], "err 1\nerr 2\nerr 3\nerr 4\nerr 5\n");
    assert_eq!(errors["stdout"], "");
    assert_eq!(errors["truncated"], false);
    let tail = sandbox
        .get(&format!("builds/{build}/logs?tail=2&stream=stdout"))
        .header("Accept", "text/plain")
        .send()
        .await
        .text()
        .await;
    assert_eq!(tail, "out 4\nout 5\n");
    let stale = sandbox
        .get(&logs)
        .header("Last-Event-ID", "other.1.0.0.0")
        .send()
        .await;
    assert_eq!(
        (stale.status(), stale.json().await["code"].clone()),
        (409, json!("STALE_CURSOR"))
    );
}

#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn a_build_that_fails_says_its_exit_code() {
    let sandbox = Dev::shared().sandbox();
    let events = run(&sandbox, json!({"command": "echo before; exit 3"})).await;

    let closing = &events.last().unwrap().data;
    assert_eq!(
        (&closing["status"], &closing["exitCode"]),
        (&json!("failed"), &json!(3)),
        "{closing}"
    );
    assert_eq!(closing["reason"], "exited");
    assert_eq!(printed(&events), "before\n");
    is_over(&sandbox, closing).await;
}

#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn a_build_that_is_out_of_time_is_ended() {
    let sandbox = Dev::shared().sandbox();
    let events = run(
        &sandbox,
        json!({"command": "echo begun; sleep 1000", "timeoutMs": 1500}),
    )
    .await;

    let closing = &events.last().unwrap().data;
    assert_eq!(
        (&closing["status"], &closing["reason"]),
        (&json!("timedOut"), &json!("timeout")),
        "{closing}"
    );
    assert_eq!(printed(&events), "begun\n");
    is_over(&sandbox, closing).await;
}

#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn a_build_whose_client_hangs_up_is_cancelled() {
    let sandbox = Dev::shared().sandbox();
    let command = "echo first; for i in $(seq 1000); do echo line $i; sleep 0.1; done";
    let (build, mut events) = sandbox.start_build(&json!({"command": command})).await;
    events.until("stdout").await;
    drop(events);

    let closing = closing_event(&sandbox, &build).await;
    assert_eq!(
        (&closing["status"], &closing["reason"]),
        (&json!("cancelled"), &json!("clientGone")),
        "{closing}"
    );
    is_over(&sandbox, &closing).await;
}

#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn a_quiet_build_whose_client_hangs_up_is_cancelled_too() {
    let sandbox = Dev::shared().sandbox();
    let (build, mut events) = sandbox
        .start_build(&json!({"command": "echo first; sleep 1000"}))
        .await;
    events.until("stdout").await;
    drop(events);

    let closing = closing_event(&sandbox, &build).await;
    assert_eq!(closing["reason"], "clientGone", "{closing}");
    is_over(&sandbox, &closing).await;
}

#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn a_build_that_is_to_continue_outlives_its_client() {
    let sandbox = Dev::shared().sandbox();
    let request = json!({"command": "echo first; sleep 2; echo last", "onDisconnect": "continue"});
    let (build, mut events) = sandbox.start_build(&request).await;
    events.until("stdout").await;
    drop(events);

    let closing = closing_event(&sandbox, &build).await;
    assert_eq!(
        (&closing["status"], &closing["exitCode"]),
        (&json!("succeeded"), &json!(0)),
        "{closing}"
    );
    is_over(&sandbox, &closing).await;
}

/// The closing event, as another client sees it that follows; it does not count as the one that started the build.
async fn closing_event(sandbox: &Sandbox<'_>, build: &str) -> Value {
    let logs = format!("builds/{build}/logs?follow=true");
    let mut events = sandbox.get(&logs).send().await.events();
    events.until("build").await.data
}

#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn a_build_that_cannot_start_is_refused_and_recorded() {
    let sandbox = Dev::shared().sandbox();
    for (request, code) in [
        (json!({"command": "true", "cwd": "/nowhere"}), "INVALID_CWD"),
        (json!({"argv": ["/no/such/program"]}), "INVALID_COMMAND"),
    ] {
        let answer = sandbox.post("builds").json(&request).send().await;
        assert_eq!(answer.status(), 400);
        let build = answer.header("Sandbox-Build-Id").to_owned();
        assert_eq!(answer.json().await["code"], code);

        let record = sandbox.build(&build).await;
        assert_eq!(
            (&record["status"], &record["reason"]),
            (&json!("failed"), &json!("startFailed")),
            "{record}"
        );
        assert_eq!(sandbox.remains(), Vec::<String>::new());
        let processes = sandbox.get("processes").send().await.json().await;
        assert_eq!(processes, json!({"processes": []}));
    }
    assert_eq!(
        sandbox.destroys().await,
        2,
        "each build started the container, and ended it"
    );
}

#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn a_build_that_cannot_start_leaves_a_sandbox_that_ran_before() {
    let sandbox = Dev::shared().sandbox();
    let started = sandbox
        .post("processes")
        .json(&json!({"command": "sleep 1000", "id": "other"}))
        .send()
        .await;
    assert_eq!(started.status(), 201);
    let answer = sandbox
        .post("builds")
        .json(&json!({"command": "true", "cwd": "/nowhere"}))
        .send()
        .await;
    assert_eq!(answer.status(), 400);

    let other = sandbox.get("processes/other").send().await.json().await;
    assert_eq!(other["status"], "running", "{other}");
    assert_eq!(sandbox.destroys().await, 0);
    assert_eq!(sandbox.delete("").send().await.status(), 204);
}

#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn a_build_whose_container_is_killed_is_lost() {
    let sandbox = Dev::shared().sandbox();
    let command = "for i in $(seq 1000); do echo line $i; sleep 0.1; done";
    let (build, mut events) = sandbox.start_build(&json!({"command": command})).await;
    events.until("stdout").await;
    sandbox.kill();
    let cut = events.rest().await;
    assert!(
        cut.iter().all(|event| event.kind() != "exit"),
        "an exit that nobody saw"
    );

    let closing = closing_event(&sandbox, &build).await;
    assert_eq!(
        (&closing["status"], &closing["reason"]),
        (&json!("lost"), &json!("containerDied")),
        "{closing}"
    );
    assert_eq!(closing["logComplete"], false);
    is_over(&sandbox, &closing).await;
}

#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn a_build_is_cancelled_by_its_route_and_by_the_destroy_of_its_sandbox() {
    for (path, reason) in [("builds/{build}", "cancelled"), ("", "destroyed")] {
        let sandbox = Dev::shared().sandbox();
        let request = json!({"command": "echo begun; sleep 1000"});
        let (build, mut events) = sandbox.start_build(&request).await;
        events.until("stdout").await;
        let ended = sandbox
            .delete(&path.replace("{build}", &build))
            .send()
            .await;
        assert!([200, 204].contains(&ended.status()));

        let closing = events.until("build").await.data;
        assert_eq!(
            (&closing["status"], &closing["reason"]),
            (&json!("cancelled"), &json!(reason)),
            "{closing}"
        );
        is_over(&sandbox, &closing).await;
    }
}

#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn a_second_build_in_a_sandbox_is_refused_with_the_first_ones_id() {
    let sandbox = Dev::shared().sandbox();
    let first = sandbox
        .post("builds")
        .header("Prefer", "respond-async")
        .json(&json!({"command": "sleep 1000"}))
        .send()
        .await;
    assert_eq!(first.status(), 202);
    let build = first.json().await;
    let second = sandbox
        .post("builds")
        .json(&json!({"command": "true"}))
        .send()
        .await;
    assert_eq!(second.status(), 409);
    let refusal = second.json().await;
    assert_eq!(refusal["code"], "BUILD_IN_PROGRESS");
    assert_eq!(refusal["context"]["buildId"], build["id"]);

    let path = format!("builds/{}", build["id"].as_str().unwrap());
    let record = sandbox.delete(&path).send().await.json().await;
    assert_eq!(
        (&record["status"], &record["destroyed"]),
        (&json!("cancelled"), &json!(true)),
        "{record}"
    );
    assert_eq!(
        sandbox.delete(&path).send().await.json().await["endedAt"],
        record["endedAt"]
    );
    let list = sandbox.get("builds").send().await.json().await;
    assert_eq!(list["builds"].as_array().unwrap().len(), 1, "{list}");
    assert_eq!(sandbox.remains(), Vec::<String>::new());
}

#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn a_build_can_be_waited_for_as_json() {
    let sandbox = Dev::shared().sandbox();
    let answer = sandbox
        .post("builds")
        .header("Accept", "application/json")
        .json(&json!({"command": "echo done", "env": {"A": "b"}}))
        .send()
        .await;
    assert_eq!(answer.status(), 200);
    let build = answer.header("Sandbox-Build-Id").to_owned();
    let record = answer.json().await;
    assert_eq!(
        (&record["id"], &record["status"]),
        (&json!(build), &json!("succeeded")),
        "{record}"
    );
    assert_eq!(record["matched"], false);
    assert_eq!(record["logBytes"], 5);
    assert_eq!(sandbox.remains(), Vec::<String>::new());
}

#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn an_unended_line_matches_and_a_match_outranks_the_exit() {
    let sandbox = Dev::shared().sandbox();
    let events = run(
        &sandbox,
        json!({"command": "printf 'all was built'; sleep 1000", "until": {"regex": "all (was|is) built$"}}),
    )
    .await;
    let closing = &events.last().unwrap().data;
    assert_eq!(
        (&closing["status"], &closing["matched"]),
        (&json!("succeeded"), &json!(true)),
        "{closing}"
    );
    is_over(&sandbox, closing).await;

    let sandbox = Dev::shared().sandbox();
    let events = run(
        &sandbox,
        json!({"command": "echo ready; exit 7", "until": {"log": "ready"}}),
    )
    .await;
    let closing = &events.last().unwrap().data;
    assert_eq!(
        (&closing["status"], &closing["exitCode"]),
        (&json!("succeeded"), &Value::Null),
        "{closing}"
    );
    is_over(&sandbox, closing).await;
}

#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn a_destroy_answers_with_a_receipt_and_can_be_repeated() {
    let sandbox = Dev::shared().sandbox();
    let started = sandbox
        .post("processes")
        .json(&json!({"command": "sleep 1000", "id": "s"}))
        .send()
        .await;
    assert_eq!(started.status(), 201);
    let destroy = || {
        sandbox
            .delete("")
            .header("Prefer", "return=representation")
            .send()
    };
    let receipt = destroy().await.json().await;
    assert_eq!(
        (&receipt["id"], &receipt["wasRunning"]),
        (&json!(sandbox.id), &json!(true)),
        "{receipt}"
    );
    assert_eq!(receipt["containerDestroyed"], true);
    assert_eq!(receipt["processes"][0]["id"], "s");
    assert_eq!(receipt["processes"][0]["outcome"], "terminated");
    assert_eq!(sandbox.remains(), Vec::<String>::new());

    let again = destroy().await.json().await;
    assert_eq!(
        (&again["wasRunning"], &again["containerDestroyed"]),
        (&json!(false), &json!(true)),
        "{again}"
    );
    assert_eq!(sandbox.destroys().await, 1);
    let process = sandbox.get("processes/s").send().await.json().await;
    assert_eq!(
        (&process["status"], &process["reason"]),
        (&json!("killed"), &json!("killed")),
        "{process}"
    );
    eventually(Duration::from_secs(5), "the sandbox to be gone", || {
        sandbox.remains().is_empty().then_some(())
    })
    .await;
}
