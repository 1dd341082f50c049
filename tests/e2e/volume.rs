//! A log of 200 MB, byte for byte, in flat memory.

use eventsource_stream::Eventsource;
use futures::TryStreamExt;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::harness::{Dev, Setup};

const LINES: usize = 2_000_000;
const MIB: u64 = 1 << 20;

/// Lines of 100 bytes, each another, so that a loss, a repetition and a swap all show.
fn line(number: usize) -> String {
    format!("{number:099}\n")
}

#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn a_log_of_200_mb_arrives_byte_for_byte_and_memory_stays_flat() {
    let dev = Dev::start(&Setup::DEFAULT);
    let sandbox = dev.sandbox();
    let warm = json!({"command": "true"});
    assert_eq!(
        sandbox
            .post("exec")
            .header("Accept", "application/json")
            .json(&warm)
            .send()
            .await
            .status(),
        200
    );
    let before = dev.workerd_memory();
    let request = json!({
        "command": format!("seq -f '%099.0f' 0 {}", LINES - 1),
        "limits": {"logBytes": 300 * MIB},
    });
    let answer = sandbox.post("builds").json(&request).send().await;
    let mut events = Box::pin(answer.chunks()).eventsource();
    let mut read = Sha256::new();
    let (mut bytes, mut closing, mut seen, mut peak, mut supervisor) =
        (0, Value::Null, 0, before, 0);
    while let Some(event) = events.try_next().await.expect("the stream is whole") {
        let event: Value = serde_json::from_str(&event.data).expect("JSON");
        let text = event["data"].as_str().expect("a string");
        match event["type"].as_str() {
            Some("stdout") => {
                read.update(text);
                bytes += text.len();
            }
            _ => closing = event,
        }
        seen += 1;
        if seen % 200 == 0 {
            peak = peak.max(dev.workerd_memory());
            supervisor = supervisor.max(sandbox.supervisor_memory().unwrap_or(0));
        }
    }
    let mut written = Sha256::new();
    for number in 0..LINES {
        written.update(line(number));
    }
    assert_eq!(bytes, LINES * 100, "{closing}");
    assert_eq!(
        read.finalize(),
        written.finalize(),
        "what was read is what was written"
    );
    assert_eq!(
        (&closing["status"], &closing["logBytes"]),
        (&json!("succeeded"), &json!(LINES * 100)),
        "{closing}"
    );
    let grown = peak.saturating_sub(before) / MIB;
    println!(
        "workerd grew by {grown} MiB, the supervisor had {} MiB at most",
        supervisor / MIB
    );
    // A buffered log would show as 200 MiB at least; what is left is the kept log's pieces and the heap's slack.
    assert!(grown < 150, "workerd grew by {grown} MiB");
    assert!(
        supervisor < 48 * MIB,
        "the supervisor had {} MiB",
        supervisor / MIB
    );
}
