//! Starting processes, and what is told of them.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, Supervisor, request};
use crate::proc::{
    alone, descendants, descriptors, ended, eventually, executing, gone, grown, signal,
};

#[tokio::test]
async fn a_start_that_fails_leaves_no_record() {
    let supervisor = Supervisor::start();
    let file = supervisor.workspace().join("file");
    fs::write(&file, "no program").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    for (body, code) in [
        (json!({"command": "true", "cwd": "/nowhere"}), "INVALID_CWD"),
        (json!({"command": "true", "cwd": "file"}), "INVALID_CWD"),
        (json!({"argv": ["no-such-program"]}), "INVALID_COMMAND"),
        (json!({"argv": ["/workspace/nothing"]}), "INVALID_COMMAND"),
        (json!({"argv": ["./file"]}), "INVALID_COMMAND"),
        (json!({"argv": ["/"]}), "INVALID_COMMAND"),
        (
            json!({"command": "true", "env": {"A=B": "1"}}),
            "VALIDATION_FAILED",
        ),
        (
            json!({"command": "true", "env": {"": "1"}}),
            "VALIDATION_FAILED",
        ),
        (
            json!({"command": "true", "user": "no-such-user"}),
            "VALIDATION_FAILED",
        ),
        (json!({"command": "true", "nope": 1}), "VALIDATION_FAILED"),
        (json!({}), "VALIDATION_FAILED"),
    ] {
        let answer = supervisor.post("/processes", &body).await;
        assert_eq!(answer.code(), (400, code.to_owned()), "{body}");
    }
    let list = supervisor.get("/processes").await.json();
    assert_eq!(list, json!({"processes": []}));
    alone(&supervisor).await;
}

#[tokio::test]
async fn a_failed_start_by_name_keeps_the_record_before_it() {
    let supervisor = Supervisor::start();
    supervisor
        .post("/processes", &json!({"command": "exit 5", "id": "a"}))
        .await;
    ended(&supervisor, "a").await;
    let bad = json!({"command": "true", "cwd": "/nowhere", "id": "a"});
    assert_eq!(supervisor.post("/processes", &bad).await.status, 400);
    let kept = eventually("the record is back", async || {
        let process = supervisor.get("/processes/a").await.json();
        (process["exitCode"] == 5).then_some(process)
    })
    .await;
    assert_eq!(kept["command"], "exit 5");
}

#[tokio::test]
async fn a_start_by_name_is_idempotent() {
    let supervisor = Supervisor::start();
    let body = json!({"command": "sleep 1000", "id": "api"});
    let same = json!({"command": "sleep 1000", "id": "api", "readyTimeoutMs": 5});
    let starts: Vec<Answer> = {
        let (a, b, c, d) = tokio::join!(
            supervisor.post("/processes", &body),
            supervisor.post("/processes", &same),
            supervisor.post("/processes", &body),
            supervisor.post("/processes", &same),
        );
        vec![a, b, c, d]
    };
    let created = starts.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(created, 1, "one of them started it");
    assert!(
        starts
            .iter()
            .all(|answer| matches!(answer.status, 200 | 201))
    );
    let pids: Vec<Value> = starts
        .iter()
        .map(|answer| answer.json()["pid"].clone())
        .collect();
    assert!(
        pids.iter().all(|pid| pid.is_u64() && *pid == pids[0]),
        "{pids:?}"
    );

    let other = json!({"command": "sleep 1001", "id": "api"});
    let answer = supervisor.post("/processes", &other).await;
    assert_eq!(answer.code(), (409, "PROCESS_ALREADY_EXISTS".into()));

    supervisor.post("/processes/api/kill", &json!({})).await;
    let again = supervisor.post("/processes", &other).await;
    assert_eq!(again.status, 201, "what has finished is started anew");
    assert_ne!(again.json()["pid"], pids[0]);
    let list = supervisor.get("/processes").await.json();
    assert_eq!(list["processes"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn an_end_is_told_as_it_was() {
    let supervisor = Supervisor::start();
    for (command, status, code, signal, reason) in [
        ("exit 0", "completed", json!(0), json!(null), "exited"),
        ("exit 3", "failed", json!(3), json!(null), "exited"),
        (
            "kill -SEGV $$",
            "failed",
            json!(null),
            json!("SIGSEGV"),
            "signaled",
        ),
        (
            "kill -KILL $$",
            "failed",
            json!(null),
            json!("SIGKILL"),
            "signaled",
        ),
        (
            "exec no-such-program",
            "failed",
            json!(127),
            json!(null),
            "exited",
        ),
    ] {
        let started = supervisor
            .post("/processes", &json!({"command": command}))
            .await;
        assert_eq!(started.status, 201);
        let id = started.json()["id"].as_str().unwrap().to_owned();
        let process = ended(&supervisor, &id).await;
        assert_eq!(process["status"], status, "{command}");
        assert_eq!(process["exitCode"], code, "{command}");
        assert_eq!(process["signal"], signal, "{command}");
        assert_eq!(process["reason"], reason, "{command}");
        assert!(process["endTime"].is_string(), "{command}");
        assert_eq!(process["descendants"], 0, "{command}");
    }
    let failed = supervisor.get("/processes?status=failed").await.json();
    assert_eq!(failed["processes"].as_array().unwrap().len(), 4);
    let bad = supervisor.get("/processes?status=dead").await;
    assert_eq!(bad.code(), (400, "VALIDATION_FAILED".into()));
}

#[tokio::test]
async fn an_unknown_process_is_404_and_a_bad_name_400() {
    let supervisor = Supervisor::start();
    for path in ["/processes/nobody", "/processes/nobody/stats"] {
        let answer = supervisor.get(path).await;
        assert_eq!(answer.code(), (404, "PROCESS_NOT_FOUND".into()));
    }
    let answer = supervisor.delete("/processes/nobody").await;
    assert_eq!(answer.code(), (404, "PROCESS_NOT_FOUND".into()));
    let answer = supervisor.get("/processes/no.body").await;
    assert_eq!(answer.code(), (400, "VALIDATION_FAILED".into()));
}

#[tokio::test]
async fn the_end_of_its_lifetime_ends_it() {
    let supervisor = Supervisor::start();
    let body = json!({"command": "sleep 1000 & wait", "id": "a", "timeoutMs": 50});
    supervisor.post("/processes", &body).await;
    let process = ended(&supervisor, "a").await;
    assert_eq!(process["status"], "killed");
    assert_eq!(process["reason"], "timeout");
    alone(&supervisor).await;
}

#[tokio::test]
async fn a_failure_is_restarted_as_often_as_the_policy_says() {
    let supervisor = Supervisor::start();
    let body = json!({
        "command": "echo run >> runs; sleep 1000 & exit 4", "id": "a",
        "restart": {"policy": "on-failure", "maxRestarts": 2, "backoffMs": 1},
    });
    supervisor.post("/processes", &body).await;
    let process = ended(&supervisor, "a").await;
    assert_eq!(process["restarts"], 2);
    assert_eq!(process["exitCode"], 4);
    assert_eq!(process["status"], "failed");
    let runs = fs::read_to_string(supervisor.workspace().join("runs")).unwrap();
    assert_eq!(runs, "run\nrun\nrun\n");
    assert_eq!(process["descendants"], 1, "the runs before left nobody");
}

#[tokio::test]
async fn a_success_is_not_a_failure_and_a_kill_ends_the_policy() {
    let supervisor = Supervisor::start();
    let policy = |policy: &str| json!({"policy": policy, "backoffMs": 60_000});
    let body = json!({"command": "exit 0", "id": "a", "restart": policy("on-failure")});
    supervisor.post("/processes", &body).await;
    assert_eq!(ended(&supervisor, "a").await["restarts"], 0);

    let body = json!({"command": "sleep 1000", "id": "b", "restart": policy("always")});
    supervisor.post("/processes", &body).await;
    let receipt = supervisor
        .post("/processes/b/kill", &json!({}))
        .await
        .json();
    assert_eq!(receipt["process"]["status"], "killed");
    assert_eq!(receipt["process"]["restarts"], 0);

    let body = json!({"command": "exit 1", "id": "c", "restart": policy("always")});
    supervisor.post("/processes", &body).await;
    eventually("it waits for its next run", async || {
        let process = supervisor.get("/processes/c").await.json();
        (process["restarts"] == 1).then_some(())
    })
    .await;
    let receipt = supervisor
        .post("/processes/c/kill", &json!({}))
        .await
        .json();
    assert_eq!(
        receipt["process"]["status"], "failed",
        "as its last run ended"
    );
    assert_eq!(receipt["signalled"], json!([]));
}

#[tokio::test]
async fn a_limit_of_memory_and_one_of_processes_end_the_tree() {
    let supervisor = Supervisor::start();
    let memory = json!({
        "command": "x=$(head -c 100000000 /dev/zero | tr '\\0' x); sleep 1000", "id": "memory",
        "limits": {"memoryBytes": 50_000_000},
    });
    let processes = json!({
        "command": "for i in 1 2 3 4 5 6; do sleep 1000 & done; wait", "id": "processes",
        "limits": {"processes": 4},
    });
    supervisor.post("/processes", &memory).await;
    supervisor.post("/processes", &processes).await;
    assert_eq!(ended(&supervisor, "memory").await["reason"], "oom");
    assert_eq!(
        ended(&supervisor, "processes").await["reason"],
        "processLimit"
    );
    alone(&supervisor).await;
}

#[tokio::test]
async fn more_processes_than_allowed_are_refused_until_one_ends() {
    let supervisor = Supervisor::start_with(&[("SANDBOX_MAX_PROCESSES", "2")]);
    let sleep = json!({"command": "sleep 1000"});
    let first = supervisor.post("/processes", &sleep).await.json();
    supervisor.post("/processes", &sleep).await;
    let refused = supervisor.post("/processes", &sleep).await;
    assert_eq!(refused.code(), (429, "TOO_MANY_PROCESSES".into()));
    assert_eq!(refused.json()["context"]["limit"], "processes");
    assert_eq!(refused.json()["context"]["limitValue"], 2);
    let exec = supervisor.post("/exec", &json!({"command": "true"})).await;
    assert_eq!(exec.code(), (429, "TOO_MANY_PROCESSES".into()));
    let path = format!("/processes/{}", first["id"].as_str().unwrap());
    assert_eq!(supervisor.delete(&path).await.status, 200);
    eventually("a place is free", async || {
        (supervisor.post("/processes", &sleep).await.status == 201).then_some(())
    })
    .await;
}

async fn feed(supervisor: &Supervisor, path: &str, body: Bytes) -> Answer {
    let request = request(Method::POST, path).body(Full::new(body)).unwrap();
    Answer::read(supervisor.send(request).await).await
}

#[tokio::test]
async fn what_is_sent_to_stdin_is_what_it_reads() {
    let supervisor = Supervisor::start();
    let body = json!({"command": "cat > copy", "id": "a", "stdin": "pipe"});
    supervisor.post("/processes", &body).await;
    let bytes: Bytes = (0..1_000_000_u32).map(|n| (n % 251) as u8).collect();
    let answer = feed(&supervisor, "/processes/a/stdin", bytes.clone()).await;
    assert_eq!(answer.json(), json!({"writtenBytes": 1_000_000}));
    let answer = feed(&supervisor, "/processes/a/stdin?eof=true", "end".into()).await;
    assert_eq!(answer.json(), json!({"writtenBytes": 3}));
    assert_eq!(ended(&supervisor, "a").await["exitCode"], 0);
    let copy = fs::read(supervisor.workspace().join("copy")).unwrap();
    assert_eq!(copy, [&bytes[..], b"end"].concat());
    let answer = feed(&supervisor, "/processes/a/stdin", "more".into()).await;
    assert_eq!(answer.code(), (409, "STDIN_CLOSED".into()));
}

#[tokio::test]
async fn one_that_reads_nothing_takes_no_input() {
    let supervisor = Supervisor::start();
    let body = json!({"command": "cat; sleep 1000", "id": "a"});
    supervisor.post("/processes", &body).await;
    let answer = feed(&supervisor, "/processes/a/stdin", "x".into()).await;
    assert_eq!(answer.code(), (409, "STDIN_CLOSED".into()));
    let body =
        json!({"command": "exec <&-; echo > closed; sleep 1000", "id": "b", "stdin": "pipe"});
    supervisor.post("/processes", &body).await;
    eventually("it has closed its input", async || {
        supervisor.workspace().join("closed").exists().then_some(())
    })
    .await;
    let answer = feed(&supervisor, "/processes/b/stdin", "x".into()).await;
    assert_eq!(answer.code(), (409, "STDIN_CLOSED".into()));
}

#[tokio::test]
async fn stats_are_of_the_whole_tree_and_the_dead_are_counted() {
    let supervisor = Supervisor::start();
    let command = "sleep 1000 & bash -c 'for ((i = 0; i < 300000; i++)); do :; done'; setsid sleep 1000 & wait";
    supervisor
        .post("/processes", &json!({"command": command, "id": "a"}))
        .await;
    let stats = eventually("the busy one has been reaped", async || {
        let stats = supervisor.get("/processes/a/stats").await.json();
        (stats["cpuMs"].as_u64() >= Some(100) && stats["processes"] == 3).then_some(stats)
    })
    .await;
    assert!(stats["rssBytes"].as_u64() > Some(1_000_000), "{stats}");
    assert_eq!(stats["threads"], 3);
    assert!(stats["readBytes"].is_u64(), "{stats}");
    supervisor.post("/processes/a/kill", &json!({})).await;
    let stats = supervisor.get("/processes/a/stats").await.json();
    assert_eq!(stats["processes"], 0);
    assert!(stats["cpuMs"].as_u64() >= Some(100), "{stats}");
}

#[tokio::test]
async fn a_descendant_that_keeps_stdout_open_delays_the_end_by_a_second_at_most() {
    let supervisor = Supervisor::start();
    let begun = std::time::Instant::now();
    supervisor
        .post(
            "/processes",
            &json!({"command": "sleep 1000 & exit 6", "id": "a"}),
        )
        .await;
    let process = ended(&supervisor, "a").await;
    assert!(begun.elapsed().as_millis() < 1800, "{:?}", begun.elapsed());
    assert_eq!(process["exitCode"], 6);
    assert_eq!(process["descendants"], 1);
}

#[tokio::test]
async fn a_list_tells_what_each_tree_uses_when_asked() {
    let supervisor = Supervisor::start();
    let body = json!({"command": "sleep 1000 & sleep 1000", "id": "a"});
    supervisor.post("/processes", &body).await;
    grown(&supervisor, "a", 1).await;
    let list = supervisor.get("/processes").await.json();
    assert_eq!(list["processes"][0].get("stats"), None);
    let list = supervisor.get("/processes?stats=true").await.json();
    let stats = &list["processes"][0]["stats"];
    assert!(stats["processes"].as_u64() >= Some(2), "{stats}");
    assert!(stats["rssBytes"].as_u64() > Some(0), "{stats}");
    let refused = supervisor.get("/processes?stats=maybe").await;
    assert_eq!(refused.code(), (400, "VALIDATION_FAILED".into()));
    let refused = supervisor.get("/processes?state=running").await;
    assert_eq!(refused.code(), (400, "VALIDATION_FAILED".into()));
}

#[tokio::test]
async fn ten_thousand_short_processes_leave_nothing() {
    let supervisor = Supervisor::start();
    let first = json!({"argv": ["true"]});
    assert_eq!(supervisor.post("/processes", &first).await.status, 201);
    alone(&supervisor).await;
    let before = descriptors(supervisor.pid());
    let mut memory = 0;
    for round in 0..1250 {
        // By then there are as many records as there ever will be.
        if round == 250 {
            memory = supervisor.peak_memory();
        }
        let body = json!({"argv": ["true"]});
        let start = async || assert_eq!(supervisor.post("/processes", &body).await.status, 201);
        tokio::join!(
            start(),
            start(),
            start(),
            start(),
            start(),
            start(),
            start(),
            start()
        );
    }
    alone(&supervisor).await;
    eventually("as many descriptors as before", async || {
        (descriptors(supervisor.pid()) <= before).then_some(())
    })
    .await;
    let grown = supervisor.peak_memory() - memory;
    assert!(grown < 4 << 20, "{grown} bytes more");
    let list = supervisor.get("/processes").await.json();
    let list = list["processes"].as_array().unwrap();
    assert_eq!(list.len(), 1000, "the oldest records are dropped");
    assert!(list.iter().all(|process| process["status"] == "completed"));
}

#[tokio::test]
async fn a_stop_of_the_supervisor_ends_every_tree_and_exits_0() {
    let mut supervisor = Supervisor::start();
    let command = "trap '' TERM; setsid sleep 1000 & (setsid bash -c 'trap \"\" TERM; sleep 1000' &); sleep 1000";
    supervisor
        .post("/processes", &json!({"command": "sleep 1000", "id": "a"}))
        .await;
    supervisor
        .post("/processes", &json!({"command": command, "id": "b"}))
        .await;
    executing(&supervisor, &["sleep 1000"; 4]).await;
    let everyone = descendants(supervisor.pid());
    assert!(everyone.len() >= 7, "{everyone:?}");
    assert_eq!(supervisor.terminate().code(), Some(0));
    gone(everyone).await;
}

#[tokio::test]
async fn a_supervisor_whose_zygote_is_killed_ends_with_every_tree() {
    let mut supervisor = Supervisor::start();
    let body = json!({"command": "trap '' TERM; sleep 1000 & wait; sleep 1000", "id": "a"});
    supervisor.post("/processes", &body).await;
    executing(&supervisor, &["sleep 1000"]).await;
    let everyone = descendants(supervisor.pid());
    let zygote = everyone.iter().find(|(_, name)| name == "zygote").unwrap();
    signal(zygote.0, rustix::process::Signal::KILL);
    let status = eventually("it ends", async || supervisor.ended()).await;
    assert_eq!(status.code(), Some(1), "so that nobody takes it for a stop");
    gone(everyone).await;
}

#[tokio::test]
async fn the_variables_are_the_users_then_the_sandboxs_then_the_requests() {
    let supervisor = Supervisor::start_with(&[("FROM_IMAGE", "1"), ("HOME", "/elsewhere")]);
    supervisor
        .put(
            "/environment",
            &json!({"A": "sandbox", "B": "sandbox", "FROM_IMAGE": null}),
        )
        .await;
    let body = json!({"argv": ["env"], "env": {"B": "request", "LOGNAME": null}});
    let request = request(Method::POST, "/exec")
        .header("content-type", "application/json")
        .header("accept", "application/json")
        .body(Full::new(Bytes::from(body.to_string())))
        .unwrap();
    let answer = Answer::read(supervisor.send(request).await).await.json();
    let lines: Vec<&str> = answer["stdout"].as_str().unwrap().lines().collect();
    let value = |name: &str| {
        lines
            .iter()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
    };
    assert_eq!(value("A"), Some("sandbox"));
    assert_eq!(value("B"), Some("request"));
    for absent in ["FROM_IMAGE", "LOGNAME", "SANDBOX_TOKEN", "SANDBOX_SOCKET"] {
        assert_eq!(value(absent), None, "{absent}");
    }
    assert_ne!(value("HOME"), Some("/elsewhere"));
    for present in ["HOME", "USER", "SHELL", "PATH"] {
        assert!(value(present).is_some(), "{present}");
    }
}

#[tokio::test]
async fn a_match_of_until_ends_the_tree_and_outranks_the_exit() {
    let supervisor = Supervisor::start();
    for (id, command, status) in [
        (
            "line",
            "echo begun; echo all done; setsid sleep 1000 & wait",
            "killed",
        ),
        ("prompt", "printf 'all done'; sleep 1000", "killed"),
        ("last", "printf 'all done'; exit 3", "failed"),
    ] {
        let body = json!({"command": command, "id": id, "until": {"log": "all done"}});
        supervisor.post("/processes", &body).await;
        let process = ended(&supervisor, id).await;
        assert_eq!(process["matched"], true, "{id}");
        // The last one may be killed while its line is waited for, or end before.
        if id != "last" {
            assert_eq!(
                (&process["status"], &process["reason"]),
                (&json!(status), &json!("killed"))
            );
        }
    }
    alone(&supervisor).await;
    let body = json!({"command": "echo other", "id": "none", "until": {"regex": "^all"}});
    supervisor.post("/processes", &body).await;
    let process = ended(&supervisor, "none").await;
    assert_eq!(
        (&process["matched"], &process["exitCode"]),
        (&json!(false), &json!(0))
    );
    let body = json!({"command": "true", "until": {"regex": "("}});
    let answer = supervisor.post("/processes", &body).await;
    assert_eq!(answer.code(), (400, "VALIDATION_FAILED".into()));
    assert_eq!(answer.json()["context"]["field"], "until.regex");
}

#[tokio::test]
async fn a_start_with_a_condition_is_answered_when_it_is_met_or_cannot_be() {
    let supervisor = Supervisor::start();
    let ready =
        json!({"command": "sleep 0.05; echo up; sleep 1000", "id": "a", "ready": {"log": "up"}});
    let answer = supervisor.post("/processes", &ready).await;
    assert_eq!(
        (answer.status, &answer.json()["status"]),
        (201, &json!("running"))
    );
    let again = supervisor.post("/processes", &ready).await;
    assert_eq!(
        (again.status, &again.json()["pid"]),
        (200, &answer.json()["pid"])
    );
    let late = json!({
        "command": "sleep 1000", "id": "b", "ready": {"log": "up"}, "readyTimeoutMs": 50,
    });
    let answer = supervisor.post("/processes", &late).await;
    assert_eq!(answer.code(), (408, "PROCESS_READY_TIMEOUT".into()));
    let left = supervisor.get("/processes/b").await.json();
    assert_eq!(
        left["status"], "running",
        "waiting never touches the process"
    );
    let early = json!({"command": "exit 2", "id": "c", "ready": {"log": "up"}});
    let answer = supervisor.post("/processes", &early).await;
    assert_eq!(answer.code(), (409, "PROCESS_EXITED_BEFORE_READY".into()));
    assert_eq!(supervisor.get("/processes/c").await.json()["exitCode"], 2);
    let bad = json!({"command": "true", "id": "d", "ready": {"regex": "("}});
    assert_eq!(supervisor.post("/processes", &bad).await.status, 400);
    assert_eq!(
        supervisor.get("/processes/d").await.status,
        404,
        "nothing was started"
    );
}
