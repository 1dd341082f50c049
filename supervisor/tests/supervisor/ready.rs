//! Waiting until a process is ready.

use std::net::TcpListener;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, Supervisor, request};
use crate::proc::ended;

/// A port that was free a moment ago.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

async fn start(supervisor: &Supervisor, command: &str) {
    let body = json!({"command": command, "id": "p"});
    let answer = supervisor.post("/processes", &body).await;
    assert_eq!(answer.status, 201, "{:?}", answer.body);
}

async fn wait(supervisor: &Supervisor, condition: Value) -> Answer {
    supervisor.post("/processes/p/wait", &condition).await
}

/// A server that answers every request with `status`, from a child of the process.
fn server(port: u16, status: &str, host: &str) -> String {
    let family = if host.contains(':') {
        "AF_INET6"
    } else {
        "AF_INET"
    };
    format!(
        "python3 -u -c \"
import socket
s = socket.socket(socket.{family})
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(('{host}', {port}))
s.listen()
while True:
    c, _ = s.accept()
    c.recv(4096)
    c.sendall(b'HTTP/1.1 {status}\\r\\ncontent-length: 0\\r\\n\\r\\n')
    c.close()
\" & wait"
    )
}

#[tokio::test]
async fn a_port_is_ready_when_it_answers_with_a_good_status() {
    let supervisor = Supervisor::start();
    let port = free_port();
    start(
        &supervisor,
        &format!("sleep 0.3; {}", server(port, "204 No Content", "127.0.0.1")),
    )
    .await;
    let met = wait(
        &supervisor,
        json!({"port": port, "path": "/health", "intervalMs": 20}),
    )
    .await;
    assert_eq!(
        met.json(),
        json!({"port": port, "mode": "http", "status": 204})
    );
    let tcp = wait(&supervisor, json!({"port": port, "mode": "tcp"})).await;
    assert_eq!(tcp.json(), json!({"port": port, "mode": "tcp"}));
    let only = json!({"port": port, "status": 200, "timeoutMs": 300, "intervalMs": 20});
    let late = wait(&supervisor, only).await;
    assert_eq!(late.code(), (408, "PROCESS_READY_TIMEOUT".to_owned()));
    let said = late.json()["context"]["lastError"].clone();
    assert_eq!(said, format!("GET / on port {port} answered 204"));
}

#[tokio::test]
async fn a_port_of_the_newer_family_is_found_too() {
    let supervisor = Supervisor::start();
    if TcpListener::bind("[::1]:0").is_err() {
        // Nothing can listen there on this machine, so there is nothing to find.
        return;
    }
    let port = free_port();
    start(&supervisor, &server(port, "200 OK", "::1")).await;
    let met = wait(&supervisor, json!({"port": port, "intervalMs": 20})).await;
    assert_eq!(met.status, 200, "{:?}", met.body);
}

#[tokio::test]
async fn the_port_of_somebody_else_is_not_this_process_being_ready() {
    let supervisor = Supervisor::start();
    let foreign = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = foreign.local_addr().unwrap().port();
    start(&supervisor, "echo starting; exec sleep 1000").await;
    let condition = json!({"port": port, "mode": "tcp", "timeoutMs": 300, "intervalMs": 20});
    let late = wait(&supervisor, condition).await;
    assert_eq!(late.code(), (408, "PROCESS_READY_TIMEOUT".to_owned()));
    let context = late.json()["context"].clone();
    assert!(
        context["lastError"]
            .as_str()
            .unwrap()
            .contains("not of this one's tree")
    );
    assert_eq!(context["logTail"], json!(["starting"]));
    assert_eq!(
        context["condition"],
        format!("port {port} takes connections")
    );
    assert_eq!(context["timeoutMs"], 300);
    // Waiting in vain did nothing to it.
    let process = supervisor.get("/processes/p").await.json();
    assert_eq!(process["status"], "running");
}

#[tokio::test]
async fn a_line_is_met_with_its_groups_before_or_after_it_is_printed() {
    let supervisor = Supervisor::start();
    start(
        &supervisor,
        "echo booting >&2; sleep 0.2; echo listening on 8080; exec sleep 1000",
    )
    .await;
    let regex = json!({"regex": r"listening on (\d+)"});
    let met = wait(&supervisor, regex).await.json();
    assert_eq!(met["line"], "listening on 8080");
    assert_eq!(met["match"], json!(["listening on 8080", "8080"]));
    assert_eq!(met["stream"], "stdout");
    let again = wait(&supervisor, json!({"log": "boot", "stream": "stderr"}))
        .await
        .json();
    assert_eq!(
        (&again["line"], &again["stream"]),
        (&json!("booting"), &json!("stderr"))
    );
    let since = met["cursor"].as_str().unwrap();
    let path = format!("/processes/p/logs?since={since}");
    assert_eq!(supervisor.get(&path).await.json()["stdout"], "");
}

#[tokio::test]
async fn what_can_come_no_more_is_told_at_once_with_the_end_of_the_process() {
    let supervisor = Supervisor::start();
    start(&supervisor, "echo no such module >&2; exit 3").await;
    let port = free_port();
    for condition in [
        json!({"log": "ready"}),
        json!({"port": port}),
        json!({"file": "never"}),
        json!({"exec": ["false"]}),
        json!({"all": [{"exit": true}, {"log": "ready"}]}),
        json!({"any": [{"port": port}, {"log": "ready"}]}),
    ] {
        let failed = wait(&supervisor, condition.clone()).await;
        let expected = (409, "PROCESS_EXITED_BEFORE_READY".to_owned());
        assert_eq!(failed.code(), expected, "{condition}");
        let context = failed.json()["context"].clone();
        assert_eq!(context["exitCode"], 3);
        assert_eq!(context["logTail"], json!(["no such module"]));
    }
    let exit = wait(&supervisor, json!({"exit": true})).await.json();
    assert_eq!(
        exit,
        json!({"exitCode": 3, "signal": null, "reason": "exited"})
    );
}

#[tokio::test]
async fn a_file_and_a_command_make_it_ready() {
    let supervisor = Supervisor::start();
    let ready = supervisor.workspace().join("sub/ready");
    let path = ready.display().to_string();
    start(
        &supervisor,
        "sleep 0.2; mkdir sub; sleep 0.1; touch sub/ready; exec sleep 1000",
    )
    .await;
    let met = wait(&supervisor, json!({"file": path})).await;
    assert_eq!(met.json(), json!({"file": path}));
    let relative = wait(&supervisor, json!({"file": "sub/ready"})).await;
    assert_eq!(relative.json(), json!({"file": "sub/ready"}));
    let argv = json!(["test", "-e", "sub/ready"]);
    let met = wait(&supervisor, json!({"exec": argv})).await;
    assert_eq!(met.json(), json!({"exec": argv}));
    let failing = json!({"exec": ["bash", "-c", "echo not yet; exit 9"], "timeoutMs": 300});
    let late = wait(&supervisor, failing).await;
    assert_eq!(
        late.json()["context"]["lastError"],
        "bash exited with code 9: not yet"
    );
}

#[tokio::test]
async fn a_command_is_run_again_at_the_interval_that_the_caller_chose() {
    let supervisor = Supervisor::start();
    start(&supervisor, "exec sleep 1000").await;
    let script = "echo >>$0; test $(wc -l <$0) -ge 3";
    let seldom = json!({
        "exec": ["bash", "-c", script, "seldom"], "intervalMs": 60_000, "timeoutMs": 500,
    });
    assert_eq!(wait(&supervisor, seldom).await.status, 408);
    let tries = std::fs::read_to_string(supervisor.workspace().join("seldom")).unwrap();
    assert_eq!(tries, "\n");
    let often = json!({"exec": ["bash", "-c", script, "often"], "intervalMs": 10});
    assert_eq!(wait(&supervisor, often).await.status, 200);
}

#[tokio::test]
async fn all_waits_for_each_and_any_for_the_first() {
    let supervisor = Supervisor::start();
    start(
        &supervisor,
        "echo one; sleep 0.1; echo two; exec sleep 1000",
    )
    .await;
    let all = wait(
        &supervisor,
        json!({"all": [{"log": "two"}, {"log": "one"}]}),
    )
    .await
    .json();
    assert_eq!(
        (&all["all"][0]["line"], &all["all"][1]["line"]),
        (&json!("two"), &json!("one"))
    );
    let any = wait(
        &supervisor,
        json!({"any": [{"log": "never"}, {"log": "one"}]}),
    )
    .await
    .json();
    assert_eq!(
        (&any["index"], &any["any"]["line"]),
        (&json!(1), &json!("one"))
    );
}

#[tokio::test]
async fn what_is_no_condition_is_refused_by_the_name_of_the_field() {
    let supervisor = Supervisor::start();
    start(&supervisor, "exec sleep 1000").await;
    for (condition, field) in [
        (json!({"regex": "("}), "regex"),
        (
            json!({"all": [{"exit": true}, {"regex": "[a"}]}),
            "all[1].regex",
        ),
        (json!({"port": 80, "timeoutMs": "soon"}), "timeoutMs"),
        (json!({"port": 80, "nope": 1}), "nope"),
    ] {
        let refused = wait(&supervisor, condition).await;
        assert_eq!(refused.code(), (400, "VALIDATION_FAILED".to_owned()));
        assert_eq!(refused.json()["context"]["field"], field);
    }
    let unknown = supervisor
        .post("/processes/q/wait", &json!({"exit": true}))
        .await;
    assert_eq!(unknown.code(), (404, "PROCESS_NOT_FOUND".to_owned()));
}

#[tokio::test]
async fn as_a_stream_it_is_one_event_after_heartbeats() {
    let supervisor = Supervisor::start_with(&[("SANDBOX_HEARTBEAT", "20ms")]);
    start(&supervisor, "sleep 0.2; echo ready; exec sleep 1000").await;
    let ask = async |condition: Value| {
        let request = request(Method::POST, "/processes/p/wait")
            .header("accept", "text/event-stream")
            .header("content-type", "application/json");
        let body = Full::new(Bytes::from(condition.to_string()));
        let answer = Answer::read(supervisor.send(request.body(body).unwrap()).await).await;
        String::from_utf8(answer.body.to_vec()).unwrap()
    };
    let met = ask(json!({"log": "ready"})).await;
    let (comments, event) = met.split_once("event: met\ndata: ").unwrap();
    assert!(
        comments.starts_with(": heartbeat\n\n: heartbeat\n\n"),
        "{met}"
    );
    let data: Value = serde_json::from_str(event.trim_end()).unwrap();
    assert_eq!(data["line"], "ready");
    let late = ask(json!({"log": "never", "timeoutMs": 50})).await;
    let (_, event) = late.split_once("event: error\ndata: ").unwrap();
    let data: Value = serde_json::from_str(event.trim_end()).unwrap();
    assert_eq!(data["code"], "PROCESS_READY_TIMEOUT");
}

#[tokio::test]
async fn a_kill_is_seen_by_those_who_wait_for_the_end() {
    let supervisor = Supervisor::start();
    start(&supervisor, "echo up; exec sleep 1000").await;
    wait(&supervisor, json!({"log": "up"})).await;
    let killed = supervisor.post("/processes/p/kill", &json!({})).await;
    assert_eq!(killed.status, 200);
    assert_eq!(ended(&supervisor, "p").await["status"], "killed");
    let exit = wait(&supervisor, json!({"exit": true})).await.json();
    assert_eq!(
        (&exit["signal"], &exit["reason"]),
        (&json!("SIGTERM"), &json!("killed"))
    );
}
