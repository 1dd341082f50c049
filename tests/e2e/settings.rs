//! A deployment whose variables break their rules serves nobody, and says which one it is.

use serde_json::json;

use crate::harness::{Dev, Setup};

#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn a_variable_that_breaks_its_rule_is_named_in_every_answer() {
    let dev = Dev::start(&Setup {
        vars: &[("SANDBOX_HEARTBEAT", "soon")],
        ..Setup::DEFAULT
    });
    let sandbox = dev.sandbox();
    assert_eq!(dev.get("/health").send().await.status(), 200);
    let exec = json!({"command": "true"});
    for call in [
        dev.get("/v1/sandbox"),
        dev.post("/v1/sandbox"),
        sandbox.get(""),
        sandbox.post("exec").json(&exec),
        sandbox.post("builds").json(&exec),
    ] {
        let answer = call.send().await;
        assert_eq!(answer.status(), 500);
        let error = answer.json().await;
        assert_eq!(error["code"], "INTERNAL_ERROR", "{error}");
        let said = error["error"].as_str().expect("a sentence");
        assert!(
            said.contains("SANDBOX_HEARTBEAT must be a duration like \"30s\""),
            "{said}"
        );
    }
    assert!(sandbox.remains().is_empty(), "something was started");
}

#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn the_heartbeat_is_that_of_the_deployment_also_for_what_the_container_sends() {
    let dev = Dev::start(&Setup {
        vars: &[("SANDBOX_HEARTBEAT", "1s")],
        ..Setup::DEFAULT
    });
    let sandbox = dev.sandbox();
    sandbox
        .start_process(&json!({"command": "sleep 6", "id": "quiet"}))
        .await;
    let log = sandbox.get("processes/quiet/logs?follow=true").send().await;
    let text = log.text().await;
    assert!(text.matches(": heartbeat\n\n").count() >= 2, "{text}");
    assert!(text.contains(r#""type":"exit""#), "{text}");
    assert_eq!(sandbox.delete("").send().await.status(), 204);
}
