//! The document of the API: that it is `OpenAPI`, and that it is served.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::harness::Dev;
use crate::harness::python::{self, Python};

const VALIDATOR: &str = "openapi-spec-validator==0.9.0";

const RUNS_WITHIN: Duration = Duration::from_mins(1);

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn document() -> PathBuf {
    root().join("protocol/openapi.json")
}

#[tokio::test]
#[ignore = "installs packages: run by make test"]
async fn a_validator_that_is_not_ours_takes_the_document_for_openapi() {
    let mut validator = Python::with(VALIDATOR)
        .await
        .command("openapi-spec-validator");
    validator.arg(document());
    python::run(validator, RUNS_WITHIN).await;
}

#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn the_document_is_served_as_json() {
    let answer = Dev::shared().get("/v1/openapi.json").send().await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.header("Content-Type"), "application/json");
    let file = std::fs::read_to_string(document()).expect("the document");
    assert_eq!(answer.text().await, file);
}
