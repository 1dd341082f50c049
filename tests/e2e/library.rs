//! A Worker of somebody else that uses the library: `examples/build-worker`.

use serde_json::json;

use crate::harness::{Dev, Setup};

const EXAMPLE: Setup<'_> = Setup {
    folder: "examples/build-worker",
    ..Setup::DEFAULT
};

#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn a_worker_of_somebody_else_runs_builds_and_the_guides_calls() {
    let dev = Dev::start(&EXAMPLE);
    let sandbox = dev.sandbox();
    let script = "echo step 1; echo step 2 >&2; echo Build complete; sleep 1000";
    let path = format!("/build/{}", sandbox.id);
    let said = dev.post(&path).body(script).send().await.text().await;
    let end = "The build printed what it was to print; the sandbox is destroyed\n";
    assert!(said.ends_with(end), "{said}");
    for line in ["step 1\n", "step 2\n", "Build complete\n"] {
        assert!(said.contains(line), "{said}");
    }
    assert_eq!(sandbox.remains(), Vec::<String>::new());

    let sandbox = dev.sandbox();
    let answer = dev.post(&format!("/serve/{}", sandbox.id)).send().await;
    let answer = answer.json().await;
    assert!(
        answer["line"].as_str().unwrap().contains("Serving HTTP"),
        "{answer}"
    );
    assert_eq!(
        (&answer["asked"], &answer["running"]),
        (&json!("200"), &json!(1)),
        "{answer}"
    );
    assert_eq!(
        (&answer["signalled"], &answer["survivors"]),
        (&json!(1), &json!(0)),
        "{answer}"
    );
    assert_eq!(answer["last"]["type"], "exit", "{answer}");
    assert_eq!(
        (&answer["reason"], &answer["containerDestroyed"]),
        (&json!("killed"), &json!(true)),
        "{answer}"
    );
    assert_eq!(sandbox.remains(), Vec::<String>::new());
}
