//! The guide's flow: services in order, their logs, their ends.

use std::time::Duration;

use serde_json::json;

use crate::harness::{Dev, within};

/// A web server with `/health`, on a port that no other test uses: on the local engine they share the machine's.
fn server(port: u16) -> String {
    format!(
        r#"exec python -u -c '
import http.server
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        ok = self.path == "/health"
        self.send_response(200 if ok else 404)
        self.end_headers()
        self.wfile.write(b"ok" if ok else b"no")
    def log_message(self, f, *a): print("asked", self.path)
print("Server listening on {port}")
http.server.ThreadingHTTPServer(("127.0.0.1", {port}), H).serve_forever()'"#
    )
}

#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn two_services_start_in_order_are_followed_and_are_killed() {
    let sandbox = Dev::shared().sandbox();
    let store =
        json!({"command": "exec python -u -m http.server --bind 127.0.0.1 18431", "id": "store"});
    assert_eq!(
        sandbox.post("processes").json(&store).send().await.status(),
        201
    );
    let wait = json!({"port": 18431, "mode": "tcp", "timeoutMs": 30000});
    let met = sandbox
        .post("processes/store/wait")
        .json(&wait)
        .send()
        .await;
    assert_eq!(met.status(), 200);
    assert_eq!(met.json().await["port"], 18431);

    let api = json!({"command": server(18432), "id": "api", "env": {"STORE": "127.0.0.1:18431"}});
    assert_eq!(
        sandbox.post("processes").json(&api).send().await.status(),
        201
    );
    let wait = json!({"port": 18432, "path": "/health", "status": 200, "timeoutMs": 30000});
    let met = sandbox.post("processes/api/wait").json(&wait).send().await;
    assert_eq!(met.status(), 200, "{}", met.text().await);
    let wait = json!({"regex": "listening on (\\d+)"});
    let met = sandbox
        .post("processes/api/wait")
        .json(&wait)
        .send()
        .await
        .json()
        .await;
    assert_eq!(
        (&met["line"], &met["match"][1]),
        (&json!("Server listening on 18432"), &json!("18432")),
        "{met}"
    );

    let mut log = sandbox
        .get("processes/api/logs?follow=true")
        .send()
        .await
        .events();
    assert!(
        log.until("stdout")
            .await
            .text()
            .contains("Server listening")
    );
    let again = json!({"port": 18432, "path": "/health"});
    assert_eq!(
        sandbox
            .post("processes/api/wait")
            .json(&again)
            .send()
            .await
            .status(),
        200
    );
    within(Duration::from_secs(10), "the probe in the log", async {
        while !log.until("stdout").await.text().contains("asked /health") {}
    })
    .await;

    let list = sandbox
        .get("processes?status=running")
        .send()
        .await
        .json()
        .await;
    assert_eq!(list["processes"].as_array().unwrap().len(), 2, "{list}");
    let all = sandbox.delete("processes").send().await.json().await;
    assert_eq!(all, json!({"killed": 2, "survivors": []}));
    let exit = log.until("exit").await.data;
    assert_eq!(
        (&exit["reason"], &exit["signal"]),
        (&json!("killed"), &json!("SIGTERM")),
        "{exit}"
    );
    assert_eq!(sandbox.delete("").send().await.status(), 204);
    assert_eq!(sandbox.remains(), Vec::<String>::new());
}

#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn a_kill_takes_a_shell_and_its_three_background_children() {
    let sandbox = Dev::shared().sandbox();
    let request =
        json!({"command": "sleep 1001 & sleep 1002 & sleep 1003 & echo up; wait", "id": "tree"});
    sandbox.start_process(&request).await;
    let up = sandbox
        .post("processes/tree/wait")
        .json(&json!({"log": "up"}))
        .send()
        .await;
    assert_eq!(up.status(), 200);

    let receipt = sandbox
        .post("processes/tree/kill")
        .send()
        .await
        .json()
        .await;
    let signalled = receipt["signalled"].to_string();
    for child in ["sleep 1001", "sleep 1002", "sleep 1003"] {
        assert!(signalled.contains(child), "{receipt}");
    }
    assert_eq!(receipt["survivors"], json!([]), "{receipt}");
    assert_eq!(receipt["process"]["status"], "killed", "{receipt}");
    let exec = json!({"command": "ps -eo args | grep '[s]leep 100' || true"});
    let seen = sandbox
        .post("exec")
        .header("Accept", "application/json")
        .json(&exec)
        .send()
        .await
        .json()
        .await;
    assert_eq!(
        (&seen["exitCode"], &seen["stdout"]),
        (&json!(0), &json!("")),
        "{seen}"
    );
    assert_eq!(sandbox.delete("").send().await.status(), 204);
}

#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn a_command_runs_among_files_that_come_and_go() {
    let sandbox = Dev::shared().sandbox();
    let put = sandbox
        .put("file/workspace/notes/a%20file")
        .body("grün\n")
        .send()
        .await;
    assert_eq!((put.status(), put.json().await), (200, json!({"ok": true})));
    let exec = json!({"command": "cat 'notes/a file'; pwd; echo $GREETING >&2; exit 3", "env": {"GREETING": "hi"}});
    let answer = sandbox
        .post("exec")
        .header("Accept", "application/json")
        .json(&exec)
        .send()
        .await;
    let result = answer.json().await;
    assert_eq!(result["stdout"], "grün\n/workspace\n", "{result}");
    assert_eq!(
        (&result["stderr"], &result["exitCode"]),
        (&json!("hi\n"), &json!(3)),
        "{result}"
    );
    let got = sandbox.get("file/workspace/notes/a%20file").send().await;
    assert_eq!(got.header("X-Content-Type-Options"), "nosniff");
    assert_eq!(got.text().await, "grün\n");
    let missing = sandbox.get("file/workspace/none").send().await;
    assert_eq!(
        (missing.status(), missing.json().await["code"].clone()),
        (404, json!("FILE_NOT_FOUND"))
    );
    let outside = sandbox.get("file/etc/passwd").send().await;
    assert_eq!(
        (outside.status(), outside.json().await["code"].clone()),
        (403, json!("PERMISSION_DENIED"))
    );
    assert_eq!(sandbox.delete("").send().await.status(), 204);
}
