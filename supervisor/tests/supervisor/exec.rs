//! One-time commands.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Method, Response};
use serde_json::{Value, json};

use crate::harness::{Answer, Supervisor, request};
use crate::proc::{alone, at_rest, eventually, signal, stat};

async fn post(supervisor: &Supervisor, body: &Value, accept: Option<&str>) -> Response<Incoming> {
    let mut request = request(Method::POST, "/exec").header("content-type", "application/json");
    if let Some(accept) = accept {
        request = request.header("accept", accept);
    }
    let body = Full::new(Bytes::from(body.to_string()));
    supervisor.send(request.body(body).unwrap()).await
}

async fn run(supervisor: &Supervisor, body: &Value) -> Value {
    let answer = Answer::read(post(supervisor, body, Some("application/json")).await).await;
    assert_eq!(answer.status, 200, "{:?}", answer.body);
    answer.json()
}

#[tokio::test]
async fn the_json_answer_has_all_of_it() {
    let supervisor = Supervisor::start();
    let body = json!({"command": "cat; echo err >&2; exit 3", "stdin": "in", "unknown": 1});
    let result = run(&supervisor, &body).await;
    assert_eq!(result["stdout"], "in");
    assert_eq!(result["stderr"], "err\n");
    assert_eq!(result["exitCode"], 3);
    assert_eq!(result["success"], false);
    assert_eq!(result["timedOut"], false);
    assert_eq!(result["truncated"], false);
    assert_eq!(result["command"], "cat; echo err >&2; exit 3");
    assert!(result["timestamp"].is_string() && result["duration"].is_u64());
    let result = run(&supervisor, &json!({"argv": ["printf", "%s", "a b"]})).await;
    assert_eq!(
        (&result["stdout"], &result["success"]),
        (&json!("a b"), &json!(true))
    );
    let list = supervisor.get("/processes").await.json();
    assert_eq!(list["processes"], json!([]), "it leaves no record");
}

#[tokio::test]
async fn the_default_answer_is_the_bridges() {
    let supervisor = Supervisor::start();
    let response = post(
        &supervisor,
        &json!({"command": "echo out; kill -TERM $$"}),
        None,
    )
    .await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let answer = Answer::read(response).await;
    let expected = "event: stdout\ndata: b3V0Cg==\n\nevent: exit\ndata: {\"exit_code\":143}\n\n";
    assert_eq!(answer.body, expected);
}

#[tokio::test]
async fn output_comes_as_it_is_printed() {
    let supervisor = Supervisor::start();
    let body = json!({"command": "printf prompt; until [ -e go ]; do sleep 0.02; done"});
    let mut response = post(&supervisor, &body, None).await;
    let frame = response
        .frame()
        .await
        .unwrap()
        .unwrap()
        .into_data()
        .unwrap();
    assert_eq!(frame, "event: stdout\ndata: cHJvbXB0\n\n");
    fs::write(supervisor.workspace().join("go"), "").unwrap();
    let rest = Answer::read(response).await;
    assert_eq!(rest.body, "event: exit\ndata: {\"exit_code\":0}\n\n");
}

#[tokio::test]
async fn at_the_timeout_the_tree_is_ended_and_the_code_is_124() {
    let supervisor = Supervisor::start();
    for (command, name) in [
        ("echo begun; setsid sleep 1000 & sleep 1000", "timeoutMs"),
        ("echo begun; trap '' TERM; sleep 1000", "timeout_ms"),
    ] {
        let result = run(&supervisor, &json!({"command": command, name: 100})).await;
        assert_eq!(result["exitCode"], 124, "{command}");
        assert_eq!(result["timedOut"], true);
        assert_eq!(result["stdout"], "begun\n");
        at_rest(&supervisor).await;
    }
}

#[tokio::test]
async fn what_it_leaves_is_cleared() {
    let supervisor = Supervisor::start();
    let begun = Instant::now();
    let result = run(
        &supervisor,
        &json!({"command": "sleep 1000 & (setsid sleep 1000 &); echo done"}),
    )
    .await;
    assert_eq!(
        (&result["exitCode"], &result["stdout"]),
        (&json!(0), &json!("done\n"))
    );
    assert!(begun.elapsed() < Duration::from_secs(2));
    at_rest(&supervisor).await;
}

#[tokio::test]
async fn a_client_that_goes_away_ends_it() {
    let supervisor = Supervisor::start();
    for accept in [None, Some("application/json")] {
        let _ = fs::remove_file(supervisor.workspace().join("pid"));
        let body = json!({"command": "echo $$ > pid.new; mv pid.new pid; sleep 1000 & wait"});
        let file = supervisor.workspace().join("pid");
        let pid = async {
            eventually("it runs", async || {
                fs::read_to_string(&file).ok()?.trim().parse().ok()
            })
            .await
        };
        let pid: u32 = tokio::select! {
            pid = pid => pid,
            // The answer as a whole never comes: the command does not end by itself.
            _ = async { Answer::read(post(&supervisor, &body, accept).await).await } => unreachable!(),
        };
        eventually("it is gone", async || stat(pid).is_none().then_some(())).await;
        at_rest(&supervisor).await;
    }
}

#[tokio::test]
async fn more_than_is_kept_is_dropped_and_told() {
    let supervisor = Supervisor::start();
    let result = run(
        &supervisor,
        &json!({"command": "head -c 20000000 /dev/zero | tr '\\0' x; echo end >&2"}),
    )
    .await;
    assert_eq!(result["stdout"].as_str().unwrap().len(), 16 << 20);
    assert_eq!(result["stderr"], "end\n");
    assert_eq!(result["truncated"], true);
    assert_eq!(result["exitCode"], 0);
}

#[tokio::test]
async fn one_that_hangs_blocks_no_other() {
    let supervisor = Supervisor::start();
    let body = json!({"command": "kill -STOP $$"});
    let hung = post(&supervisor, &body, None).await;
    for _ in 0..20 {
        assert_eq!(
            run(&supervisor, &json!({"command": "true"})).await["exitCode"],
            0
        );
    }
    drop(hung);
    at_rest(&supervisor).await;
}

#[tokio::test]
async fn one_that_cannot_start_is_refused() {
    let supervisor = Supervisor::start();
    for (body, code) in [
        (json!({"command": "true", "cwd": "/nowhere"}), "INVALID_CWD"),
        (json!({"argv": ["no-such-program"]}), "INVALID_COMMAND"),
        (json!({"command": "a", "argv": ["a"]}), "VALIDATION_FAILED"),
        (
            json!({"command": "true", "user": "no-such-user"}),
            "VALIDATION_FAILED",
        ),
    ] {
        let answer = Answer::read(post(&supervisor, &body, None).await).await;
        assert_eq!(answer.code(), (400, code.to_owned()));
    }
    alone(&supervisor).await;
}

#[tokio::test]
async fn another_user_is_that_user_in_everything() {
    let supervisor = Supervisor::start();
    let command = "id -u; id -g; echo $USER $LOGNAME; cat /proc/self/oom_score_adj";
    let body = json!({"command": command, "user": "nobody", "cwd": "/"});
    if !rustix::process::geteuid().is_root() {
        let answer = Answer::read(post(&supervisor, &body, None).await).await;
        assert_eq!(
            answer.code(),
            (403, "PERMISSION_DENIED".into()),
            "only root can become somebody"
        );
        return;
    }
    let result = run(&supervisor, &body).await;
    assert_eq!(
        result["stdout"], "65534\n65534\nnobody nobody\n500\n",
        "{result}"
    );
    // Root could enter it, the user cannot.
    let owners = fs::Permissions::from_mode(0o700);
    fs::set_permissions(supervisor.workspace(), owners).unwrap();
    let body = json!({"command": "true", "user": "nobody"});
    let answer = Answer::read(post(&supervisor, &body, None).await).await;
    assert_eq!(answer.code(), (400, "INVALID_CWD".into()));
    assert_eq!(answer.json()["context"]["errno"], "EACCES");
    let body = json!({"command": "sleep 1000", "id": "a", "user": "nobody", "cwd": "/"});
    supervisor.post("/processes", &body).await;
    let stats = supervisor.get("/processes/a/stats").await.json();
    assert!(stats["readBytes"].is_u64(), "{stats}");
}

#[tokio::test]
async fn it_inherits_neither_descriptors_nor_ignored_signals_nor_a_session() {
    let supervisor = Supervisor::start();
    let status = json!({"argv": ["grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"]});
    let none = "0000000000000000";
    let result = run(&supervisor, &status).await;
    assert_eq!(
        result["stdout"],
        format!("SigBlk:\t{none}\nSigIgn:\t{none}\n")
    );
    // The fourth is the folder that is being listed.
    let result = run(&supervisor, &json!({"argv": ["ls", "/proc/self/fd"]})).await;
    assert_eq!(result["stdout"], "0\n1\n2\n3\n");
    let leads = "[ $(cut -d' ' -f6 /proc/$$/stat) = $$ ]";
    assert_eq!(
        run(&supervisor, &json!({"command": leads})).await["exitCode"],
        0
    );
}

/// The shim that a command has, as it sees it itself.
async fn shim(supervisor: &Supervisor) -> u32 {
    let result = run(supervisor, &json!({"command": "echo $PPID"})).await;
    result["stdout"].as_str().unwrap().trim().parse().unwrap()
}

#[tokio::test]
async fn commands_have_one_shim_after_another_has_gone_and_processes_one_of_their_own() {
    let supervisor = Supervisor::start();
    let first = shim(&supervisor).await;
    assert_eq!(shim(&supervisor).await, first);
    let body = json!({"id": "a", "command": "echo $PPID; sleep 1000"});
    assert_eq!(supervisor.post("/processes", &body).await.status, 201);
    let log = eventually("it tells", async || {
        let log = supervisor
            .get("/processes/a/logs?follow=false")
            .await
            .json();
        log["stdout"].as_str()?.trim().parse::<u32>().ok()
    })
    .await;
    assert_ne!(log, first);
    supervisor.post("/processes/a/kill", &json!({})).await;
    assert_eq!(
        at_rest(&supervisor).await,
        [first],
        "that of the process has gone with it"
    );
}

#[tokio::test]
async fn a_shim_that_is_killed_while_it_rests_costs_no_command() {
    let supervisor = Supervisor::start();
    let first = shim(&supervisor).await;
    signal(first, rustix::process::Signal::KILL);
    eventually("it is gone", async || stat(first).is_none().then_some(())).await;
    assert_ne!(shim(&supervisor).await, first);
}

#[tokio::test]
async fn the_end_of_one_command_hits_no_other_that_gets_its_shim() {
    let supervisor = Supervisor::start();
    // Some end by themselves while others are killed, with what they leave, so that shims change hands all the time.
    let ends_by_itself = async || {
        for _ in 0..60 {
            let result = run(&supervisor, &json!({"command": "sleep 0.01; echo done"})).await;
            assert_eq!(
                (&result["exitCode"], &result["stdout"]),
                (&json!(0), &json!("done\n"))
            );
        }
    };
    let is_killed = async || {
        for round in 0..20 {
            let body = json!({"command": "setsid sleep 1000 & sleep 1000", "timeoutMs": 5 + round});
            assert_eq!(run(&supervisor, &body).await["exitCode"], 124);
        }
    };
    let leaves_another = async || {
        for _ in 0..20 {
            let result = run(
                &supervisor,
                &json!({"command": "setsid sleep 1000 & exit 7"}),
            )
            .await;
            assert_eq!(result["exitCode"], 7);
        }
    };
    tokio::join!(
        ends_by_itself(),
        is_killed(),
        ends_by_itself(),
        leaves_another(),
        ends_by_itself(),
        is_killed(),
    );
    assert!(
        at_rest(&supervisor).await.len() <= 6,
        "no more than were needed at once"
    );
}

#[tokio::test]
async fn a_crowd_of_commands_leaves_few_shims() {
    let supervisor = Supervisor::start();
    let commands = (0..40).map(|_| async {
        let result = run(&supervisor, &json!({"command": "sleep 0.5"})).await;
        assert_eq!(result["exitCode"], 0);
    });
    futures_util::future::join_all(commands).await;
    eventually("sixteen rest", async || {
        (at_rest(&supervisor).await.len() == 16).then_some(())
    })
    .await;
}
