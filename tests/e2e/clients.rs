//! Readers of our streams that are not ours: `parseSSEStream` of `@cloudflare/sandbox`, and a browser's `EventSource`.

use serde_json::{Value, json};
use std::time::Duration;

use crate::harness::{Dev, Setup, eventually, script};

/// Both streams: one has characters of several bytes, the other bytes that are no text.
const PRINTS: &str = r"for i in 1 2 3; do echo é $i >&2; done; printf '\377\n'";

fn of_kind<'a>(events: &'a [Value], kind: &str) -> Vec<&'a Value> {
    events
        .iter()
        .filter(|event| event["type"] == kind)
        .collect()
}

fn text(events: &[Value], kind: &str) -> String {
    let of_kind = of_kind(events, kind);
    of_kind
        .iter()
        .map(|event| event["data"].as_str().expect("a string"))
        .collect()
}

/// Every event has what the package's `LogEvent` has, with its types.
fn assert_typed(events: &[Value]) {
    for event in events {
        assert!(event["data"].is_string(), "{event}");
        assert!(event["timestamp"].is_string(), "{event}");
        let named = if event["type"] == "build" {
            "buildId"
        } else {
            "processId"
        };
        assert!(event[named].is_string(), "{event}");
    }
    assert_eq!(text(events, "stderr"), "é 1\né 2\né 3\n");
    assert_eq!(
        text(events, "stdout"),
        "/wo=",
        "base64 of a byte and a newline"
    );
    let encodings: Vec<_> = of_kind(events, "stdout")
        .iter()
        .map(|event| &event["encoding"])
        .collect();
    assert_eq!(encodings, ["base64"]);
    let exits = of_kind(events, "exit");
    assert_eq!(exits.len(), 1, "{events:?}");
    assert_eq!(exits[0]["exitCode"], 0);
}

#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn parse_sse_stream_of_cloudflare_reads_a_process_to_its_end() {
    let dev = Dev::shared();
    let sandbox = dev.sandbox();
    let start = json!({"command": PRINTS, "id": "prints"});
    assert_eq!(
        sandbox.post("processes").json(&start).send().await.status(),
        201
    );
    let url = dev.url() + &sandbox.path("processes/prints/logs?follow=true");
    let events = script::run_json("parse-sse.mjs", &["GET", &url]).await;
    assert_typed(&events);
    assert_eq!(events.last().expect("events")["type"], "exit");
    assert_eq!(sandbox.delete("").send().await.status(), 204);
}

#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn parse_sse_stream_of_cloudflare_reads_a_build_to_its_end() {
    let dev = Dev::shared();
    let sandbox = dev.sandbox();
    let url = dev.url() + &sandbox.path("builds");
    let body = json!({"command": PRINTS}).to_string();
    let events = script::run_json("parse-sse.mjs", &["POST", &url, &body]).await;
    assert_typed(&events);
    let end = events.last().expect("events");
    assert_eq!(end["type"], "build");
    assert_eq!(end["status"], "succeeded");
    assert_eq!(end["destroyed"], true);
    assert_eq!(sandbox.remains(), Vec::<String>::new());
}

#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn the_event_source_of_a_browser_resumes_after_cuts_by_its_ticket_and_stops_at_the_end() {
    let dev = Dev::start(&Setup {
        vars: &[("SANDBOX_ANONYMOUS", "false"), ("SANDBOX_API_KEY", "k")],
        ..Setup::DEFAULT
    });
    let sandbox = dev.sandbox();
    let key = "Bearer k";
    let command = "read; for i in $(seq 600); do echo line $i; sleep .01; done";
    let start = json!({"command": command, "id": "lines", "stdin": "pipe"});
    let started = sandbox.post("processes").header("Authorization", key);
    assert_eq!(started.json(&start).send().await.status(), 201);
    let ticket = sandbox.post("tickets").header("Authorization", key);
    let ticket = ticket.send().await.json().await;
    let ticket = ticket["ticket"].as_str().expect("a ticket");

    let logs = sandbox.path("processes/lines/logs");
    // At no boundary of anything, so that a frame is cut in two: once while lines come, once while the browser
    // catches up.
    let proxy = dev.proxy(&format!("GET {logs}?"), &[30_011, 14_983]).await;
    let origin = format!("http://localhost:{}", proxy.port);
    let path = format!("{logs}?follow=true&ticket={ticket}");
    let arguments = [origin.as_str(), &path];
    let read = script::run_json("event-source.mjs", &arguments);
    // A browser may drop what it has not looked at when a connection breaks: it is to see each line as it comes.
    let begin = async {
        let asked = || (!proxy.requests().is_empty()).then_some(());
        eventually(Duration::from_mins(1), "the browser's request", asked).await;
        let stdin = sandbox.post("processes/lines/stdin").body("go\n");
        stdin.header("Authorization", key).send().await.status()
    };
    let (events, status) = tokio::join!(read, begin);
    assert_eq!(status, 200);

    let all: String = (1..=600).map(|number| format!("line {number}\n")).collect();
    assert_eq!(text(&events, "stdout"), all, "every line once");
    assert_eq!(events.last().expect("events")["type"], "exit");
    let requests = proxy.requests();
    let resumed: Vec<bool> = requests
        .iter()
        .map(|head| head.to_ascii_lowercase().contains("last-event-id:"))
        .collect();
    // The first, one after each cut, and the one that is told by 204 that there is no more.
    assert_eq!(resumed, [false, true, true, true]);
    let delete = sandbox.delete("").header("Authorization", key);
    assert_eq!(delete.send().await.status(), 204);
}
