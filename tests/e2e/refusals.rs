//! What is refused, with which code, and that nothing was started for it.

use hyper::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, Dev, Sandbox, Setup};

async fn is_refused(answer: Answer, status: u16, code: &str, what: &str) -> Value {
    let got = answer.status();
    let body = answer.json().await;
    assert_eq!(
        (got, &body["code"]),
        (status, &json!(code)),
        "{what}: {body}"
    );
    assert!(
        body["error"].is_string() && body["context"].is_object(),
        "{what}: {body}"
    );
    body
}

#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn bad_input_has_its_code_and_starts_nothing() {
    let sandbox = Dev::shared().sandbox();
    let bodies = [
        ("builds", "{", "VALIDATION_FAILED"),
        ("builds", "[]", "VALIDATION_FAILED"),
        (
            "builds",
            r#"{"command":"true","nope":1}"#,
            "VALIDATION_FAILED",
        ),
        ("builds", r#"{"command":5}"#, "VALIDATION_FAILED"),
        ("builds", "{}", "VALIDATION_FAILED"),
        (
            "builds",
            r#"{"command":"a","argv":["a"]}"#,
            "VALIDATION_FAILED",
        ),
        ("builds", r#"{"command":""}"#, "INVALID_COMMAND"),
        (
            "builds",
            r#"{"command":"a","timeoutMs":99999999999}"#,
            "VALIDATION_FAILED",
        ),
        (
            "builds",
            r#"{"command":"a","env":{"A=B":"c"}}"#,
            "VALIDATION_FAILED",
        ),
        (
            "builds",
            r#"{"command":"a","onDisconnect":"maybe"}"#,
            "VALIDATION_FAILED",
        ),
        (
            "processes",
            r#"{"command":"a","id":"a b"}"#,
            "VALIDATION_FAILED",
        ),
        (
            "processes",
            r#"{"command":"a","ready":{"port":0}}"#,
            "INVALID_PORT",
        ),
        ("processes", r#"{"command":"a","cwd":""}"#, "INVALID_CWD"),
        ("exec", r#"{"argv":[]}"#, "INVALID_COMMAND"),
        (
            "processes/p/wait",
            r#"{"log":"a","port":1}"#,
            "VALIDATION_FAILED",
        ),
        (
            "processes/p/kill",
            r#"{"signal":"SIGNOPE"}"#,
            "VALIDATION_FAILED",
        ),
    ];
    for (path, body, code) in bodies {
        let answer = sandbox
            .post(path)
            .header("Content-Type", "application/json")
            .body(body)
            .send()
            .await;
        is_refused(answer, 400, code, &format!("{path} {body}")).await;
    }
    nothing_was_started(&sandbox).await;
}

async fn nothing_was_started(sandbox: &Sandbox<'_>) {
    assert_eq!(sandbox.remains(), Vec::<String>::new(), "what runs");
    let state = sandbox.get("").send().await.json().await;
    assert_eq!(state["status"], "stopped");
    let log = sandbox.get("events").send().await.json().await;
    assert_eq!(log, json!({"events": []}));
}

#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn a_body_of_the_wrong_kind_is_refused_and_starts_nothing() {
    let sandbox = Dev::shared().sandbox();
    let field = sandbox
        .post("builds")
        .json(&json!({"command": "a", "limits": {"logBytes": "x"}}))
        .send()
        .await;
    let field = is_refused(field, 400, "VALIDATION_FAILED", "a wrong type").await;
    assert_eq!(field["context"]["field"], "limits.logBytes");

    let large = format!(r#"{{"command":"{}"}}"#, "x".repeat(2 << 20));
    let answer = sandbox
        .post("builds")
        .header("Content-Type", "application/json")
        .body(large)
        .send()
        .await;
    is_refused(answer, 413, "PAYLOAD_TOO_LARGE", "a large body").await;
    let answer = sandbox
        .post("builds")
        .header("Content-Type", "text/plain")
        .body(r#"{"command":"true"}"#)
        .send()
        .await;
    is_refused(
        answer,
        415,
        "UNSUPPORTED_MEDIA_TYPE",
        "a body of another type",
    )
    .await;
    let answer = sandbox.post("hydrate").send().await;
    is_refused(answer, 400, "VALIDATION_FAILED", "an empty archive").await;

    for path in ["builds", "processes", "exec"] {
        let answer = sandbox
            .post(path)
            .header("Content-Type", "application/json");
        let answer = answer.body(r#"{"command":"true"} x"#).send().await;
        is_refused(answer, 400, "VALIDATION_FAILED", "more than a value").await;
    }
    for query in ["cols=0", "rows=many", "session=a%20b"] {
        let terminal = sandbox.get(&format!("pty?{query}"));
        let terminal = terminal
            .header("Upgrade", "websocket")
            .header("Connection", "Upgrade")
            .header("Sec-WebSocket-Version", "13")
            .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
        let refused = is_refused(terminal.send().await, 400, "VALIDATION_FAILED", query).await;
        assert_eq!(
            refused["context"]["field"].as_str(),
            query.split('=').next()
        );
    }

    nothing_was_started(&sandbox).await;
}

#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn the_refusal_of_an_upload_reaches_its_sender_wherever_it_is_made() {
    let sandbox = Dev::shared().sandbox();
    let upload = vec![b'x'; 20 << 20];
    for (method, path, status, code) in [
        (Method::PUT, "nope", 404, "ROUTE_NOT_FOUND"),
        (Method::PUT, "builds", 405, "METHOD_NOT_ALLOWED"),
        (Method::POST, "builds", 415, "UNSUPPORTED_MEDIA_TYPE"),
        (
            Method::POST,
            "processes/none/stdin",
            409,
            "SANDBOX_NOT_RUNNING",
        ),
        (Method::PUT, "file/etc/a", 403, "PERMISSION_DENIED"),
        (
            Method::POST,
            "processes/none/stdin",
            404,
            "PROCESS_NOT_FOUND",
        ),
    ] {
        let what = format!("{method} {path}");
        let call = Dev::shared().call(method, &sandbox.path(path));
        let answer = call.body(upload.clone()).send().await;
        is_refused(answer, status, code, &what).await;
    }
    // One that says no length is counted as it comes.
    let answer = sandbox
        .post("builds")
        .header("Content-Type", "application/json")
        .header("Transfer-Encoding", "chunked")
        .body(upload)
        .send()
        .await;
    is_refused(answer, 413, "PAYLOAD_TOO_LARGE", "a large body in chunks").await;
    sandbox.delete("").send().await;
    assert_eq!(sandbox.remains(), Vec::<String>::new(), "what runs");
}

#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn routes_methods_and_ids_that_do_not_exist_are_told_apart() {
    let dev = Dev::shared();
    let sandbox = dev.sandbox();
    for (path, status, code) in [
        ("/nope".to_owned(), 404, "ROUTE_NOT_FOUND"),
        (sandbox.path("nope"), 404, "ROUTE_NOT_FOUND"),
        ("/v1/sandbox/UPPER".to_owned(), 400, "VALIDATION_FAILED"),
        (sandbox.path("processes/a.b"), 400, "VALIDATION_FAILED"),
        (sandbox.path("processes/none"), 404, "PROCESS_NOT_FOUND"),
        (sandbox.path("builds/none"), 404, "BUILD_NOT_FOUND"),
        (sandbox.path("builds/none/logs"), 404, "BUILD_NOT_FOUND"),
    ] {
        is_refused(dev.get(&path).send().await, status, code, &path).await;
    }
    let answer = dev.call(Method::PUT, &sandbox.path("builds")).send().await;
    assert_eq!(answer.header("Allow"), "POST, GET");
    is_refused(answer, 405, "METHOD_NOT_ALLOWED", "a method").await;
    assert_eq!(
        sandbox.remains(),
        Vec::<String>::new(),
        "nothing was started"
    );
}

#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn what_may_not_wake_a_sandbox_does_not() {
    let sandbox = Dev::shared().sandbox();
    assert_eq!(
        sandbox.get("running").send().await.json().await,
        json!({"running": false})
    );
    assert_eq!(
        sandbox.get("processes").send().await.json().await,
        json!({"processes": []})
    );
    assert_eq!(
        sandbox.get("builds").send().await.json().await,
        json!({"builds": []})
    );
    let all = sandbox.delete("processes").send().await.json().await;
    assert_eq!(all, json!({"killed": 0, "survivors": []}));
    for answer in [
        sandbox.get("file/workspace/a").send().await,
        sandbox.get("files/workspace").send().await,
        sandbox.post("persist").send().await,
        sandbox.post("processes/p/stdin").body("x").send().await,
    ] {
        is_refused(answer, 409, "SANDBOX_NOT_RUNNING", "a sleeping sandbox").await;
    }
    assert_eq!(
        sandbox.delete("").send().await.status(),
        204,
        "an id never used can be destroyed"
    );
    assert_eq!(
        sandbox.remains(),
        Vec::<String>::new(),
        "nothing was started"
    );
}

#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn a_page_of_another_origin_is_refused_also_in_anonymous_mode() {
    let dev = Dev::shared();
    let sandbox = dev.sandbox();
    let foreign = sandbox
        .get("")
        .header("Origin", "https://foreign.example")
        .send()
        .await;
    is_refused(foreign, 403, "ORIGIN_NOT_ALLOWED", "a foreign page").await;
    let null = sandbox.get("").header("Origin", "null").send().await;
    is_refused(null, 403, "ORIGIN_NOT_ALLOWED", "a page without an origin").await;
}

#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn with_a_key_only_its_holder_is_served_and_an_allowed_page_may_read_even_errors() {
    let dev = Dev::start(&Setup {
        vars: &[
            ("SANDBOX_ANONYMOUS", "false"),
            ("SANDBOX_API_KEY", "a key of the test"),
            ("SANDBOX_ALLOWED_ORIGINS", "https://app.example"),
        ],
        ..Setup::DEFAULT
    });
    let sandbox = dev.sandbox();
    assert_eq!(dev.get("/health").send().await.status(), 200);
    let bare = sandbox
        .get("")
        .header("Origin", "https://app.example")
        .send()
        .await;
    assert_eq!(
        bare.header("Access-Control-Allow-Origin"),
        "https://app.example"
    );
    is_refused(bare, 401, "UNAUTHORIZED", "no key").await;
    let wrong = sandbox
        .get("")
        .header("Authorization", "Bearer another")
        .send()
        .await;
    is_refused(wrong, 401, "UNAUTHORIZED", "a wrong key").await;
    for path in ["/nope", "/v1/sandbox/UPPER", &sandbox.path("nope")] {
        let answer = dev.get(path).send().await;
        is_refused(answer, 401, "UNAUTHORIZED", "whatever there is").await;
    }
    let right = sandbox
        .get("")
        .header("Authorization", "Bearer a key of the test")
        .send()
        .await;
    assert_eq!(right.status(), 200);

    let asked = dev
        .call(Method::OPTIONS, &sandbox.path("builds"))
        .header("Origin", "https://app.example")
        .header("Access-Control-Request-Method", "POST")
        .send()
        .await;
    assert_eq!(asked.status(), 204);
    assert!(
        asked
            .header("Access-Control-Allow-Headers")
            .contains("Last-Event-ID")
    );

    let ticket = sandbox
        .post("tickets")
        .header("Authorization", "Bearer a key of the test")
        .send()
        .await;
    let ticket = ticket.json().await["ticket"].as_str().unwrap().to_owned();
    let path = |id: &str| format!("builds/{id}/logs?follow=true&ticket={ticket}");
    is_refused(
        sandbox.get(&path("b1")).send().await,
        404,
        "BUILD_NOT_FOUND",
        "a stream opened by a ticket",
    )
    .await;
    is_refused(
        sandbox.get(&path("b1")).send().await,
        404,
        "BUILD_NOT_FOUND",
        "the same stream again",
    )
    .await;
    is_refused(
        sandbox.get(&path("b2")).send().await,
        401,
        "UNAUTHORIZED",
        "another stream",
    )
    .await;
    let state = format!("{}?ticket={ticket}", sandbox.path(""));
    let state = dev.get(&state).send().await;
    assert_eq!(state.status(), 401, "a ticket opens streams alone");
}
