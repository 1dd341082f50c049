//! The service answers before any sandbox exists.

use crate::harness::Dev;
use serde_json::json;

#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn health_needs_no_key_and_tells_the_version() {
    let answer = Dev::shared().get("/health").send().await;

    assert_eq!(answer.status(), 200);
    let body = answer.json().await;
    assert_eq!(body["ok"], json!(true), "{body}");
    assert!(body["version"].is_string(), "{body}");
}
