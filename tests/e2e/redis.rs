//! The guide's "Run multiple processes", with a real Redis, by a Worker of somebody else: `examples/services`.

use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use futures::{Stream, StreamExt};
use serde_json::{Value, json};

use crate::harness::{Dev, Engine, Setup, within};

/// Two ports that nobody has: on the local engine a sandbox shares the machine's.
fn free_ports() -> [String; 2] {
    let listen = || TcpListener::bind("127.0.0.1:0").expect("a free port");
    // Both at once, or they might be the same.
    let listeners = [listen(), listen()];
    listeners.map(|listener| {
        let address = listener.local_addr().expect("it listens");
        address.port().to_string()
    })
}

/// On the local engine a sandbox runs the machine's programs.
fn check_redis(engine: Engine) {
    let found = Command::new("redis-server").arg("--version").output();
    assert!(
        engine == Engine::Docker || found.is_ok(),
        "redis-server is not installed, and the local engine runs the machine's: apt-get install redis-server"
    );
}

/// Reads on until what came contains every one of `texts`.
async fn until(log: &mut (impl Stream<Item = Vec<u8>> + Unpin), read: &mut String, texts: &[&str]) {
    let what = format!("{texts:?} in the logs");
    within(Duration::from_secs(30), &what, async {
        while !texts.iter().all(|text| read.contains(text)) {
            let chunk = log.next().await;
            let chunk = chunk.unwrap_or_else(|| panic!("the logs ended before {texts:?}: {read}"));
            *read += &String::from_utf8(chunk).expect("text");
        }
    })
    .await;
}

#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn redis_and_an_api_start_in_order_are_followed_and_end_in_order() {
    let [redis, api] = free_ports();
    let dev = Dev::start(&Setup {
        folder: "examples/services",
        vars: &[("REDIS_PORT", &redis), ("API_PORT", &api)],
        ..Setup::DEFAULT
    });
    check_redis(dev.engine);
    let sandbox = dev.sandbox();
    let up = dev.post(&format!("/up/{}", sandbox.id)).send().await;
    assert_eq!(up.status(), 200, "{}", up.text().await);
    let up = up.json().await;
    assert_eq!(up["running"], json!(["redis", "api"]), "{up}");
    assert!(
        up["redis"].as_str().unwrap().contains("Ready to accept"),
        "{up}"
    );

    let log = dev.get(&format!("/logs/{}", sandbox.id)).send().await;
    let mut log = Box::pin(log.chunks().map(|chunk| chunk.expect("no cut").to_vec()));
    let mut read = String::new();
    let started = ["api: API listening on", "api: asked /health", "redis: "];
    until(&mut log, &mut read, &started).await;

    let visits = async |path: &str| {
        let answer = dev.get(&format!("/api/{}/{path}", sandbox.id)).send().await;
        (answer.status(), answer.text().await)
    };
    // A second start of what runs is the first.
    let again = dev
        .post(&format!("/up/{}", sandbox.id))
        .send()
        .await
        .json()
        .await;
    assert_eq!(again["running"], json!(["redis", "api"]), "{again}");
    assert_eq!(visits("visits").await, (200, r#"{"visits":1}"#.to_owned()));
    assert_eq!(visits("visits").await, (200, r#"{"visits":2}"#.to_owned()));
    assert_eq!(visits("nothing").await.0, 404);
    until(
        &mut log,
        &mut read,
        &["api: asked /visits", "api: asked /nothing"],
    )
    .await;

    let down = dev.post(&format!("/down/{}", sandbox.id)).send().await;
    let down: Value = down.json().await;
    let step = |id: &str, running: &[&str]| json!({"killed": id, "reason": "killed", "survivors": 0, "running": running});
    assert_eq!(
        down["steps"],
        json!([step("api", &["redis"]), step("redis", &[])]),
        "{down}"
    );
    assert_eq!(down["containerDestroyed"], true, "{down}");
    assert_eq!(sandbox.remains(), Vec::<String>::new());
    // Redis says so itself when it is asked to end.
    until(
        &mut log,
        &mut read,
        &[
            "api: ended by SIGTERM",
            "redis: exited with code 0",
            "bye bye",
        ],
    )
    .await;
    assert!(log.next().await.is_none(), "both have ended");
}

#[test]
fn the_examples_image_has_the_supervisor_that_the_projects_has() {
    let stage = |dockerfile: &str| {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/");
        let text = std::fs::read_to_string(format!("{root}{dockerfile}")).expect("it is there");
        let lines = text.lines().map(str::trim_end);
        let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        let lines = lines.skip_while(|line| !line.ends_with(" AS supervisor"));
        let rest = lines.enumerate();
        let stage = rest.take_while(|(number, line)| *number == 0 || !line.starts_with("FROM "));
        stage.map(|(_, line)| line.to_owned()).collect::<Vec<_>>()
    };
    let projects = stage("Dockerfile");
    assert!(projects.len() > 10, "{projects:?}");
    assert_eq!(stage("examples/services/Dockerfile"), projects);
}
