//! The local engine: sandboxes of their own, and nothing left of them.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::groups::{self, Home};
use crate::harness::{Answer, TOKEN, eventually, is_alive};
use crate::proc::signal;

const SECRET: &str = "a-secret-for-tests-only";

/// An engine, killed when dropped.
struct Engine {
    child: Child,
    address: SocketAddr,
    folder: TempDir,
}

impl Engine {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_sandbox-supervisor"))
            .args(["engine", "--listen", "127.0.0.1:0", "--state"])
            .arg(folder.path().join("sandboxes"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        writeln!(child.stdin.as_mut().unwrap(), "{SECRET}").unwrap();
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        output.read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("engine listening on http://");
        Self {
            child,
            address: address.unwrap().parse().unwrap(),
            folder,
        }
    }

    fn sandboxes(&self) -> PathBuf {
        self.folder.path().join("sandboxes")
    }

    async fn call(&self, method: Method, path: &str, json: Option<Value>) -> Answer {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", self.address.to_string())
            .header("sandbox-engine-secret", SECRET)
            .header("authorization", format!("Bearer {TOKEN}"))
            .header("content-type", "application/json");
        let body = json.map_or_else(String::new, |json| json.to_string());
        self.send(request.body(Full::new(body.into())).unwrap())
            .await
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Answer {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Answer::read(sender.send_request(request).await.unwrap()).await
    }

    async fn start_sandbox(&self, id: &str) {
        let orders = json!({"token": TOKEN, "env": {"GREETING": id}});
        let answer = self
            .call(Method::POST, &format!("/{id}/start"), Some(orders))
            .await;
        assert_eq!(
            (answer.status, answer.json()),
            (200, json!({"running": true}))
        );
    }

    /// What `command` prints in the sandbox `id`.
    async fn exec(&self, id: &str, command: &str) -> String {
        let request = Request::post(format!("/{id}/port/exec"))
            .header("host", self.address.to_string())
            .header("sandbox-engine-secret", SECRET)
            .header("authorization", format!("Bearer {TOKEN}"))
            .header("content-type", "application/json")
            .header("accept", "application/json");
        let body = json!({"command": command}).to_string();
        let answer = self
            .send(request.body(Full::new(body.into())).unwrap())
            .await;
        let result = answer.json();
        assert_eq!(
            (answer.status, &result["exitCode"]),
            (200, &json!(0)),
            "{result}"
        );
        result["stdout"].as_str().unwrap().to_owned()
    }

    /// The control group of the sandbox `id`; `None` where the kernel lets it have none.
    async fn group(&self, id: &str) -> Option<PathBuf> {
        let said = self.exec(id, "cat /proc/self/cgroup").await;
        let group = groups::listed(&said)?.parent()?.to_owned();
        let name = group.file_name()?.to_str()?;
        name.starts_with("sandbox-").then_some(group)
    }

    async fn is_running(&self, id: &str) -> bool {
        let answer = self.call(Method::GET, &format!("/{id}/status"), None).await;
        answer.json()["running"].as_bool().unwrap()
    }

    /// The pids of every process that the engine has under it.
    fn descendants(&self) -> Vec<u32> {
        let mut found = vec![self.child.id()];
        let mut next = 0;
        while let Some(pid) = found.get(next) {
            // One that ends meanwhile has no children any more.
            let tasks = std::fs::read_dir(format!("/proc/{pid}/task"));
            for task in tasks.into_iter().flatten().flatten() {
                let children = task.path().join("children");
                let children = std::fs::read_to_string(children).unwrap_or_default();
                found.extend(
                    children
                        .split_whitespace()
                        .map(|pid| pid.parse::<u32>().unwrap()),
                );
            }
            next += 1;
        }
        found.split_off(1)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// How many of the engine's descendants are `sleep`.
fn sleepers(engine: &Engine) -> usize {
    let comm = |pid: &u32| std::fs::read_to_string(format!("/proc/{pid}/comm"));
    let all = engine.descendants();
    let names = all.iter().filter_map(|pid| comm(pid).ok());
    names.filter(|name| name == "sleep\n").count()
}

fn is_empty(folder: &Path) -> bool {
    std::fs::read_dir(folder).unwrap().next().is_none()
}

#[tokio::test]
async fn only_who_knows_the_secret_and_is_on_this_machine_is_served() {
    let engine = Engine::start();
    let host = engine.address.to_string();
    let cases = [
        (host.as_str(), Some(SECRET), 200, ""),
        ("localhost:1", Some(SECRET), 200, ""),
        (&host, None, 401, "UNAUTHORIZED"),
        (&host, Some("a-secret-for-tests-onlx"), 401, "UNAUTHORIZED"),
        ("example.org", Some(SECRET), 403, "PERMISSION_DENIED"),
        ("10.0.0.1", Some(SECRET), 403, "PERMISSION_DENIED"),
    ];
    for (host, secret, status, code) in cases {
        let mut request = Request::get("/a/status").header("host", host);
        if let Some(secret) = secret {
            request = request.header("sandbox-engine-secret", secret);
        }
        let answer = engine.send(request.body(Full::default()).unwrap()).await;
        assert_eq!(answer.code(), (status, code.into()), "{host} {secret:?}");
    }
}

#[tokio::test]
async fn a_sandbox_starts_once_and_ends_as_often_as_asked() {
    let engine = Engine::start();
    assert!(!engine.is_running("a").await);
    engine.start_sandbox("a").await;
    assert!(engine.is_running("a").await);
    let again = json!({"token": TOKEN});
    let answer = engine.call(Method::POST, "/a/start", Some(again)).await;
    assert_eq!(answer.status, 409);
    for _ in 0..2 {
        let answer = engine.call(Method::DELETE, "/a", None).await;
        assert_eq!(
            (answer.status, answer.json()),
            (200, json!({"running": false}))
        );
    }
    assert!(engine.descendants().is_empty());
    assert!(is_empty(&engine.sandboxes()), "its folder is gone");
    let answer = engine.call(Method::GET, "/a/port/health", None).await;
    assert_eq!(
        (answer.status, &answer.json()["error"]),
        (502, &json!("not listening"))
    );
    assert!(answer.headers.contains_key("sandbox-engine-error"));
    engine.start_sandbox("a").await;
}

#[tokio::test]
async fn what_is_wrong_in_a_request_is_said() {
    let engine = Engine::start();
    let short = json!({"token": "short"});
    let unknown = json!({"token": TOKEN, "enviroment": {}});
    for (method, path, body, status) in [
        (Method::GET, "/A/status", None, 400),
        (Method::POST, "/a/start", Some(short), 400),
        (Method::POST, "/a/start", Some(unknown), 400),
        (Method::GET, "/a/start", None, 405),
        (Method::GET, "/a/b/c", None, 404),
    ] {
        let answer = engine.call(method, path, body).await;
        assert_eq!(answer.status, status, "{path}");
        assert!(answer.json()["code"].is_string());
    }
    assert!(engine.descendants().is_empty());
}

#[tokio::test]
async fn two_sandboxes_have_each_their_own() {
    let engine = Engine::start();
    engine.start_sandbox("a").await;
    engine.start_sandbox("b").await;
    let boot = async |id: &str| {
        let health = engine
            .call(Method::GET, &format!("/{id}/port/health"), None)
            .await;
        health.json()["bootId"].as_str().unwrap().to_owned()
    };
    assert_ne!(boot("a").await, boot("b").await);
    for id in ["a", "b"] {
        let path = format!("/{id}/port/file/workspace/who%20am%20i");
        assert_eq!(
            engine
                .call(Method::PUT, &path, Some(json!(id)))
                .await
                .status,
            200
        );
    }
    for id in ["a", "b"] {
        let path = format!("/{id}/port/file/workspace/who%20am%20i");
        assert_eq!(
            engine.call(Method::GET, &path, None).await.json(),
            json!(id)
        );
    }
    let answer = engine.call(Method::DELETE, "/a", None).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(engine.is_running("b").await, "it outlives the other");
}

#[tokio::test]
async fn what_runs_sees_its_own_folders_and_processes_only() {
    let engine = Engine::start();
    engine.start_sandbox("a").await;
    engine.start_sandbox("b").await;
    let command =
        "pwd; echo $GREETING; echo mine >here; echo mine >/tmp/here; ls /workspace /tmp; ls /proc";
    for id in ["a", "b"] {
        let said = engine.exec(id, command).await;
        let (said, processes) = said.split_once("/workspace:\nhere\n").unwrap();
        assert_eq!(said, format!("/workspace\n{id}\n/tmp:\nhere\n\n"));
        // The supervisor, its zygote, a shim, the shell, `ls`; perhaps one more on its way.
        let pids: Vec<u32> = processes
            .lines()
            .filter_map(|name| name.parse().ok())
            .collect();
        assert!(pids.contains(&1) && pids.len() < 10, "{pids:?}");
    }
    assert!(!Path::new("/tmp/here").exists());
}

#[tokio::test]
async fn a_daemon_goes_with_its_sandbox() {
    let mut engine = Engine::start();
    for id in ["a", "b"] {
        engine.start_sandbox(id).await;
        let before = sleepers(&engine);
        // Twice forked, in a session of its own, holding no pipe of ours; and one that stays.
        let daemon = "(setsid sh -c 'sleep 1000 & exec sleep 1000' </dev/null >/dev/null 2>&1 &); exec sleep 1000";
        let path = format!("/{id}/port/processes");
        let answer = engine
            .call(Method::POST, &path, Some(json!({"command": daemon})))
            .await;
        assert_eq!(answer.status, 201);
        eventually("all three run", || sleepers(&engine) == before + 3).await;
    }
    let all = engine.descendants();
    let answer = engine.call(Method::DELETE, "/a", None).await;
    assert_eq!(answer.status, 200);
    let rest = engine.descendants();
    let of_a: Vec<u32> = all
        .iter()
        .copied()
        .filter(|pid| !rest.contains(pid))
        .collect();
    assert!(
        of_a.len() >= 6 && !of_a.iter().any(|pid| is_alive(*pid)),
        "{of_a:?}"
    );
    assert_eq!(sleepers(&engine), 3, "those of the other sleep on");
    engine.child.kill().unwrap();
    engine.child.wait().unwrap();
    eventually("all of it is gone", || {
        !all.iter().any(|pid| is_alive(*pid))
    })
    .await;
}

#[tokio::test]
async fn a_supervisor_that_dies_is_not_running() {
    let engine = Engine::start();
    engine.start_sandbox("a").await;
    let descendants = engine.descendants();
    let first = i32::try_from(descendants[1]).unwrap();
    let first = rustix::process::Pid::from_raw(first).unwrap();
    rustix::process::kill_process(first, rustix::process::Signal::KILL).unwrap();
    eventually("all of it is gone", || engine.descendants().is_empty()).await;
    assert!(!engine.is_running("a").await);
    assert!(is_empty(&engine.sandboxes()));
    engine.start_sandbox("a").await;
}

#[tokio::test]
async fn an_engine_that_is_told_to_end_leaves_nothing() {
    let mut engine = Engine::start();
    engine.start_sandbox("a").await;
    let descendants = engine.descendants();
    // Whoever gave it the secret goes.
    drop(engine.child.stdin.take());
    assert!(engine.child.wait().unwrap().success());
    assert!(!descendants.iter().any(|pid| is_alive(*pid)));
    assert!(is_empty(&engine.sandboxes()));
}

#[tokio::test]
async fn an_engine_that_is_killed_leaves_nothing() {
    let mut engine = Engine::start();
    engine.start_sandbox("a").await;
    engine.start_sandbox("b").await;
    let descendants = engine.descendants();
    assert!(descendants.len() >= 4);
    engine.child.kill().unwrap();
    engine.child.wait().unwrap();
    eventually("all of it is gone", || {
        !descendants.iter().any(|pid| is_alive(*pid))
    })
    .await;
    assert!(is_empty(&engine.sandboxes()));
}

#[tokio::test]
async fn a_launcher_that_is_killed_takes_its_sandbox_along() {
    let engine = Engine::start();
    engine.start_sandbox("a").await;
    let descendants = engine.descendants();
    let launcher = i32::try_from(descendants[0]).unwrap();
    let launcher = rustix::process::Pid::from_raw(launcher).unwrap();
    rustix::process::kill_process(launcher, rustix::process::Signal::KILL).unwrap();
    eventually("all of it is gone", || {
        !descendants.iter().any(|pid| is_alive(*pid))
    })
    .await;
    eventually("it is not running", || engine.descendants().is_empty()).await;
    assert!(!engine.is_running("a").await);
}

#[tokio::test]
async fn a_sandbox_has_one_control_group_that_goes_however_it_ends() {
    let mut engine = Engine::start();
    let mut of_all = Vec::new();
    for id in ["destroyed", "alone", "orphaned"] {
        engine.start_sandbox(id).await;
        of_all.push(engine.group(id).await);
    }
    let allowed = Home::make().is_some();
    let exists = |index: usize| of_all[index].as_ref().is_some_and(|group| group.exists());
    assert_eq!([0, 1, 2].map(exists), [allowed; 3], "{of_all:?}");
    engine.call(Method::DELETE, "/destroyed", None).await;
    assert_eq!([0, 1, 2].map(exists), [false, allowed, allowed]);
    let all = engine.descendants();
    let mut launchers = all.iter().filter(|pid| {
        let words = std::fs::read_to_string(format!("/proc/{pid}/cmdline"));
        words.unwrap().ends_with("/alone\0")
    });
    signal(*launchers.next().unwrap(), rustix::process::Signal::KILL);
    eventually("that of a killed launcher is gone", || !exists(1)).await;
    engine.child.kill().unwrap();
    engine.child.wait().unwrap();
    eventually("that of a killed engine is gone", || !exists(2)).await;
}
