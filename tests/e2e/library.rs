//! A Worker of somebody else that uses the library: `examples/build-worker`.

use std::net::TcpListener;
use std::pin::Pin;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::{Stream, StreamExt};
use serde_json::{Value, json};

use crate::harness::{Dev, Sandbox, Setup, eventually, within};

const EXAMPLE: Setup<'_> = Setup {
    folder: "examples/build-worker",
    // Also how soon a caller that is gone is noticed.
    vars: &[("SANDBOX_HEARTBEAT", "1s")],
    ..Setup::DEFAULT
};

/// The platform notices that a client has left when it writes to it.
const WORK: &str = "echo inside; while sleep 0.5; do echo still inside; done";

/// How long after its caller is gone a sandbox stays.
const GRACE: Duration = Duration::from_secs(30);

/// Waits until the server answers again after its workerd has died.
async fn is_back(dev: &Dev) {
    within(Duration::from_mins(1), "the next workerd", async {
        // What is not known is 404; a server on its way up refuses, or says 503.
        while !dev
            .get("/")
            .try_send()
            .await
            .is_ok_and(|answer| answer.status() == 404)
        {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
}

/// Why `sandbox` was destroyed, each time.
async fn destroys(dev: &Dev, sandbox: &Sandbox<'_>) -> Vec<String> {
    let events = dev.get(&format!("/events/{}", sandbox.id)).send().await;
    let events: Value = events.json().await;
    let events = events.as_array().expect("a list").iter();
    let destroyed = events.filter(|event| event["event"] == "destroyed");
    destroyed
        .map(|event| event["detail"].as_str().expect("a reason").to_owned())
        .collect()
}

/// A scope that somebody is in.
struct Inside<'dev> {
    sandbox: Sandbox<'dev>,
    /// What the work said at first.
    first: String,
    /// What it says then; dropping it hangs up.
    said: Pin<Box<dyn Stream<Item = Result<Bytes, hyper::Error>>>>,
}

impl<'dev> Inside<'dev> {
    /// Begins work that says something now and then, and never ends.
    async fn begin(dev: &'dev Dev) -> Self {
        Self::begin_in(dev, dev.sandbox(), WORK).await
    }

    /// Has the Worker of `caller` do `work` in `sandbox`.
    async fn begin_in(caller: &Dev, sandbox: Sandbox<'dev>, work: &str) -> Self {
        let call = caller.post(&format!("/guide/{}", sandbox.id));
        let answer = call.body(work.to_owned()).send().await;
        let mut said = Box::pin(answer.chunks());
        let first = within(Duration::from_mins(1), "the work to begin", said.next()).await;
        let first = first.expect("a word").expect("no cut");
        let first = String::from_utf8(first.into()).expect("text");
        assert!(first.starts_with("inside\n"), "{first}");
        Self {
            sandbox,
            first,
            said,
        }
    }

    /// Waits until its stream is cut.
    async fn is_cut(&mut self) {
        within(Duration::from_mins(1), "the cut", async {
            while let Some(Ok(_)) = self.said.next().await {}
        })
        .await;
    }
}

async fn guide(dev: &Dev, sandbox: &Sandbox<'_>, script: &str) -> String {
    let call = dev.post(&format!("/guide/{}", sandbox.id));
    call.body(script.to_owned()).send().await.text().await
}

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

#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn every_call_of_the_library_does_what_its_name_says() {
    let dev = Dev::start(&EXAMPLE);
    let sandbox = dev.sandbox();
    // On the local engine a sandbox shares the machine's ports.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("it listens").port();
    drop(listener);
    let call = dev.post(&format!("/calls/{}", sandbox.id));
    let answer = call.body(port.to_string()).send().await;
    assert_eq!(answer.status(), 200, "{}", answer.text().await);
    let said = answer.json().await;
    assert_eq!(
        said["files"],
        json!({"copied": true, "without": ["server.js"], "restored": ["copy.js", "server.js"]})
    );
    assert_eq!(
        said["server"],
        json!({
            "line": true,
            "group": true,
            "first": true,
            "asked": ["PUT /echo?a=b", "hello"],
            "found": true,
            "printed": true,
            "used": 1,
            "before": "running",
            "after": "killed",
            "exit": [null, "SIGKILL", "killed"],
            "rest": ["exit"],
        })
    );
    assert_eq!(
        said["processes"],
        json!({
            "exec": [3, "from stdin\ntest\n"],
            "written": 4,
            "sorted": 0,
            "signalled": 1,
            "all": 2,
            "listed": 5,
            "forgotten": true,
        })
    );
    assert_eq!(
        said["settings"],
        json!({
            "kept": true,
            "released": true,
            "sleepAfterMs": 1_800_000,
            "limits": true,
            "first": "starting",
        })
    );
    assert_eq!(
        said["refusals"],
        json!([
            "INVALID_CWD",
            "FILE_NOT_FOUND",
            "PERMISSION_DENIED",
            "PROCESS_NOT_FOUND",
            "VALIDATION_FAILED",
            "VALIDATION_FAILED",
            "BUILD_NOT_FOUND",
        ])
    );
    assert_eq!(
        said["build"],
        json!({
            "rest": ["exit", "build"],
            "again": ["stdout", "exit", "build"],
            "status": ["cancelled", "cancelled"],
            "builds": 1,
            "running": "stopped",
        })
    );
    assert_eq!(sandbox.remains(), Vec::<String>::new());
}

#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn a_scope_destroys_its_sandbox_once_on_ok_and_on_err_and_not_before() {
    let dev = Dev::start(&EXAMPLE);
    let (good, bad) = (dev.sandbox(), dev.sandbox());
    let began = Instant::now();
    // Work that takes longer than the grace of a scope that nobody holds.
    let long = "echo step 1; sleep 33; echo Build complete; sleep 1000";
    let (said, failed) = futures::join!(
        guide(&dev, &good, long),
        guide(&dev, &bad, "sleep 1000 & echo no; exit 3")
    );
    assert!(
        failed.ends_with("Build failed: the build ended without completing\n"),
        "{failed}"
    );
    assert_eq!(bad.remains(), Vec::<String>::new());
    assert_eq!(said, "step 1\nBuild complete\nBuild completed\n");
    assert!(began.elapsed() > GRACE, "it was cut short");
    assert_eq!(good.remains(), Vec::<String>::new());
    for sandbox in [&good, &bad] {
        assert_eq!(destroys(&dev, sandbox).await, ["requested"]);
        assert_eq!(sandbox.scopes(), Vec::<String>::new(), "none is left open");
    }
    // A second scope of the same sandbox knows nothing of the first.
    let again = guide(&dev, &good, "echo Build complete").await;
    assert!(again.ends_with("Build completed\n"), "{again}");
    assert_eq!(destroys(&dev, &good).await, ["requested"; 2]);
}

#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn a_scope_whose_isolate_or_client_is_gone_destroys_its_sandbox_once() {
    let dev = Dev::start(&EXAMPLE);
    let mut reloaded = Inside::begin(&dev).await;
    dev.reload();
    reloaded.is_cut().await;
    is_back(&dev).await;
    let mut killed = Inside::begin(&dev).await;
    dev.kill_workerd();
    killed.is_cut().await;
    is_back(&dev).await;
    let left = Inside::begin(&dev).await;
    let began = Instant::now();
    drop(left.said);
    for (what, sandbox) in [
        ("the reloaded one's sandbox to be gone", &reloaded.sandbox),
        ("the killed one's sandbox to be gone", &killed.sandbox),
        ("the left one's sandbox to be gone", &left.sandbox),
    ] {
        eventually(Duration::from_secs(90), what, || {
            sandbox.remains().is_empty().then_some(())
        })
        .await;
        assert_eq!(destroys(&dev, sandbox).await, ["scopeEnded"]);
        assert_eq!(
            sandbox.remains(),
            Vec::<String>::new(),
            "looking started it"
        );
    }
    assert!(
        began.elapsed() > GRACE,
        "the caller had no time to come back"
    );
}

#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn a_scope_and_a_stream_go_on_when_their_object_is_replaced() {
    let objects = Dev::start(&Setup {
        folder: "",
        ..EXAMPLE
    });
    let caller = Dev::start(&Setup {
        objects_of: Some(&objects),
        ..EXAMPLE
    });
    let sandbox = objects.sandbox();
    let work =
        "echo inside; for i in $(seq 120); do echo line $i; sleep 0.4; done; echo Build complete";
    let inside = Inside::begin_in(&caller, sandbox, work).await;
    let before = inside.sandbox.scopes();
    assert_eq!(before.len(), 1, "{before:?}");
    objects.reload();
    let began = Instant::now();
    eventually(Duration::from_mins(1), "the scope to be taken up", || {
        let scopes = inside.sandbox.scopes();
        (scopes.len() == 1 && scopes != before).then_some(())
    })
    .await;

    // The work ends later than a scope that nobody took up would have let it.
    let rest = within(Duration::from_mins(3), "the end of the work", async {
        let chunks: Vec<Bytes> = inside
            .said
            .map(|chunk| chunk.expect("no cut"))
            .collect()
            .await;
        String::from_utf8(chunks.concat()).expect("text")
    })
    .await;
    let lines: String = (1..=120).map(|i| format!("line {i}\n")).collect();
    let said = inside.first + &rest;
    assert_eq!(
        said,
        format!("inside\n{lines}Build complete\nBuild completed\n")
    );
    assert!(began.elapsed() > GRACE, "the work was too short to tell");
    let events = inside.sandbox.get("events").send().await.json().await;
    let events = events["events"].as_array().expect("a list");
    let destroyed = events.iter().filter(|event| event["event"] == "destroyed");
    let reasons: Vec<_> = destroyed.map(|event| &event["detail"]).collect();
    assert_eq!(reasons, ["requested"]);
    assert_eq!(inside.sandbox.scopes(), Vec::<String>::new());
    assert_eq!(inside.sandbox.remains(), Vec::<String>::new());
}
