//! A kill ends the whole tree, wherever its members hide, and proves it.

use std::fs;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::Supervisor;
use crate::proc::{alone, descendants, ended, eventually, executing, signal, stat};

/// Starts `command` as `a` and waits until all of `children` run.
async fn started(command: &str, children: &[&str]) -> Supervisor {
    let supervisor = Supervisor::start();
    let answer = supervisor
        .post("/processes", &json!({"command": command, "id": "a"}))
        .await;
    assert_eq!(answer.status, 201, "{command}");
    executing(&supervisor, children).await;
    supervisor
}

/// Kills `a`, sees for itself that nobody is left, and returns the receipt.
async fn killed(supervisor: &Supervisor, kill: &Value) -> Value {
    let answer = supervisor.post("/processes/a/kill", kill).await;
    let receipt = answer.json();
    assert_eq!(answer.status, 200, "{receipt}");
    assert_eq!(receipt["survivors"], json!([]));
    assert_eq!(receipt["process"]["descendants"], 0);
    // The proof is in the answer: whoever is left now would be somebody who escaped.
    let left: Vec<_> = descendants(supervisor.pid())
        .into_iter()
        .filter(|(_, name)| name != "zygote" && name != "shim")
        .collect();
    assert_eq!(left, [], "alive after the answer");
    alone(supervisor).await;
    receipt
}

fn count(list: &Value) -> usize {
    list.as_array().unwrap().len()
}

/// How often a member's command contains `part`.
fn named(list: &Value, part: &str) -> usize {
    let members = list.as_array().unwrap().iter();
    let commands = members.filter_map(|member| member["command"].as_str());
    commands.filter(|command| command.contains(part)).count()
}

#[tokio::test]
async fn reaches_children_in_its_group_and_one_that_left_its_session() {
    let supervisor = started(
        "sleep 1000 & sleep 1000 & setsid sleep 2000 & wait",
        &["sleep 1000", "sleep 1000", "sleep 2000"],
    )
    .await;
    let receipt = killed(&supervisor, &json!({})).await;
    assert_eq!(count(&receipt["signalled"]), 4, "{receipt}");
    assert!(named(&receipt["signalled"], "sleep 2000") > 0, "{receipt}");
    assert_eq!(receipt["killed"], json!([]));
    assert_eq!(receipt["process"]["status"], "killed");
    assert_eq!(receipt["process"]["reason"], "killed");
    assert_eq!(receipt["process"]["signal"], "SIGTERM");
}

#[tokio::test]
async fn reaches_a_daemon_that_forked_twice_with_a_cleared_environment() {
    let daemon =
        "( ( env -i setsid sleep 3000 </dev/null >/dev/null 2>&1 & ) & ); sleep 1000 & wait";
    let supervisor = started(daemon, &["sleep 3000", "sleep 1000"]).await;
    let receipt = killed(&supervisor, &json!({})).await;
    // Those in between may be there still.
    assert!(count(&receipt["signalled"]) >= 3, "{receipt}");
    assert!(named(&receipt["signalled"], "sleep 3000") > 0, "{receipt}");
}

#[tokio::test]
async fn kills_one_that_ignores_the_signal_after_its_grace() {
    let supervisor = started(
        "trap '' TERM; sleep 1000 & while :; do wait; done",
        &["sleep 1000"],
    )
    .await;
    let receipt = killed(&supervisor, &json!({"graceMs": 100})).await;
    assert_eq!(count(&receipt["signalled"]), 2, "{receipt}");
    assert_eq!(count(&receipt["killed"]), 2, "{receipt}");
    assert!(receipt["tookMs"].as_u64() >= Some(100), "{receipt}");
    assert_eq!(receipt["process"]["signal"], "SIGKILL");
}

#[tokio::test]
async fn beats_one_that_keeps_forking_children() {
    let forks = "trap '' TERM; while :; do sleep 1000 & ((++n < 300)) || wait -n; done";
    let supervisor = started(forks, &["sleep 1000"; 20]).await;
    let receipt = killed(&supervisor, &json!({"graceMs": 50})).await;
    assert!(count(&receipt["killed"]) > 20, "{receipt}");
}

#[tokio::test]
async fn beats_one_that_runs_away_by_forking_and_exiting() {
    // Each generation leaves a child behind and ends, so its number changes all the time.
    let runs = "trap '' TERM; run() { (run &) }; run; sleep 1000";
    let supervisor = started(runs, &["sleep 1000"]).await;
    killed(&supervisor, &json!({"graceMs": 20})).await;
}

#[tokio::test]
async fn wakes_those_that_are_stopped() {
    let stops = "sleep 1000 & kill -STOP $!; setsid sleep 1000 & kill -STOP $$";
    let supervisor = started(stops, &[]).await;
    let root = supervisor.get("/processes/a").await.json()["pid"]
        .as_u64()
        .unwrap();
    // The last thing that it does.
    eventually("the root is stopped", async || {
        let stat = fs::read_to_string(format!("/proc/{root}/stat")).ok()?;
        stat.contains(") T ").then_some(())
    })
    .await;
    let receipt = killed(&supervisor, &json!({})).await;
    assert_eq!(count(&receipt["signalled"]), 3, "{receipt}");
    assert_eq!(receipt["killed"], json!([]), "each heard the signal");
}

#[tokio::test]
async fn names_five_hundred_children() {
    let supervisor = started(
        "for i in $(seq 500); do sleep 1000 & done; wait",
        &["sleep 1000"; 500],
    )
    .await;
    let receipt = killed(&supervisor, &json!({"signal": "SIGKILL"})).await;
    assert_eq!(count(&receipt["signalled"]), 501);
}

#[tokio::test]
async fn reaches_descendants_after_the_root_has_exited_by_itself() {
    let leaves = "setsid sleep 1000 >/dev/null 2>&1 & (sleep 2000 >/dev/null 2>&1 &); exit 9";
    let supervisor = started(leaves, &["sleep 1000", "sleep 2000"]).await;
    let process = ended(&supervisor, "a").await;
    assert_eq!(process["exitCode"], 9);
    eventually("those in between are gone", async || {
        let process = supervisor.get("/processes/a").await.json();
        (process["descendants"] == 2).then_some(())
    })
    .await;
    let receipt = killed(&supervisor, &json!({})).await;
    assert_eq!(count(&receipt["signalled"]), 2, "{receipt}");
    assert_eq!(
        receipt["process"]["reason"], "exited",
        "a kill after the end does not change it"
    );
    assert_eq!(receipt["process"]["status"], "failed");
}

#[tokio::test]
async fn of_what_is_gone_is_a_success_with_empty_lists() {
    let supervisor = started("exit 0", &[]).await;
    ended(&supervisor, "a").await;
    let receipt = killed(&supervisor, &json!({})).await;
    assert_eq!(receipt["signalled"], json!([]));
    assert_eq!(receipt["process"]["status"], "completed");
    let answer = supervisor.post("/processes/nobody/kill", &json!({})).await;
    assert_eq!(answer.code(), (404, "PROCESS_NOT_FOUND".into()));
}

#[tokio::test]
async fn without_a_grace_the_signal_is_delivered_and_nothing_else() {
    let supervisor = started(
        "trap 'echo > got' USR1; echo > set; while :; do read -t 1000 <> <(:); done",
        &[],
    )
    .await;
    let path = supervisor.workspace();
    eventually("it is ready for the signal", async || {
        path.join("set").exists().then_some(())
    })
    .await;
    let answer = supervisor
        .post("/processes/a/kill", &json!({"signal": "SIGUSR1"}))
        .await;
    assert_eq!(answer.json()["process"]["status"], "running");
    eventually("it got the signal", async || {
        path.join("got").exists().then_some(())
    })
    .await;
    let answer = supervisor
        .post("/processes/a/kill", &json!({"signal": 0}))
        .await;
    assert_eq!(answer.code(), (400, "VALIDATION_FAILED".into()));
    assert_eq!(
        supervisor.get("/processes/a").await.json()["status"],
        "running"
    );
}

#[tokio::test]
async fn a_second_kill_need_not_wait_for_the_first() {
    let supervisor = started(
        "trap '' TERM; sleep 1000 & while :; do wait; done",
        &["sleep 1000"],
    )
    .await;
    let first = json!({"graceMs": 60_000});
    let second = json!({"signal": "SIGKILL"});
    let (first, second) = tokio::join!(
        supervisor.post("/processes/a/kill", &first),
        supervisor.post("/processes/a/kill", &second),
    );
    assert_eq!((first.status, second.status), (200, 200));
    alone(&supervisor).await;
}

#[tokio::test]
async fn of_all_is_one_call_and_forgetting_is_another() {
    let supervisor = Supervisor::start();
    for id in ["a", "b", "c"] {
        let body = json!({"command": "setsid sleep 1000 & sleep 1000", "id": id});
        supervisor.post("/processes", &body).await;
    }
    supervisor
        .post("/processes", &json!({"command": "true", "id": "d"}))
        .await;
    ended(&supervisor, "d").await;
    let answer = supervisor.delete("/processes").await;
    assert_eq!(answer.json(), json!({"killed": 3, "survivors": []}));
    alone(&supervisor).await;
    assert_eq!(
        supervisor.delete("/processes/a").await.json()["survivors"],
        json!([])
    );
    assert_eq!(supervisor.get("/processes/a").await.status, 404);
    assert_eq!(
        supervisor.get("/processes/b").await.json()["reason"],
        "killed"
    );
}

#[tokio::test]
async fn of_the_shim_by_somebody_else_loses_neither_status_nor_tree() {
    for (last, code, by) in [
        ("exit 7", json!(7), json!(null)),
        ("kill -ABRT $$", json!(null), json!("SIGABRT")),
    ] {
        let command = format!(
            "(setsid sleep 1000 >/dev/null 2>&1 &); until [ -e go ]; do sleep 0.02; done; {last}"
        );
        let supervisor = started(&command, &["sleep 1000"]).await;
        let root = supervisor.get("/processes/a").await.json()["pid"]
            .as_u64()
            .unwrap();
        let (shim, _) = stat(root.try_into().unwrap()).unwrap();
        assert_eq!(stat(shim).unwrap().1, "shim");
        signal(shim, Signal::KILL);
        eventually("the shim is gone", async || {
            stat(shim).is_none().then_some(())
        })
        .await;
        assert_eq!(
            supervisor.get("/processes/a").await.json()["status"],
            "running"
        );
        fs::write(supervisor.workspace().join("go"), "").unwrap();
        let process = ended(&supervisor, "a").await;
        assert_eq!(process["exitCode"], code);
        assert_eq!(process["signal"], by);
        assert_eq!(process["status"], "failed");
        alone(&supervisor).await;
    }
}

#[tokio::test]
async fn of_a_tree_without_its_shim_is_a_kill_all_the_same() {
    let supervisor = started(
        "(setsid sleep 1000 &); sleep 1000 & wait",
        &["sleep 1000", "sleep 1000"],
    )
    .await;
    let root = supervisor.get("/processes/a").await.json()["pid"]
        .as_u64()
        .unwrap();
    let (shim, _) = stat(root.try_into().unwrap()).unwrap();
    signal(shim, Signal::KILL);
    eventually("the shim is gone", async || {
        stat(shim).is_none().then_some(())
    })
    .await;
    let receipt = killed(&supervisor, &json!({})).await;
    assert_eq!(receipt["process"]["reason"], "killed");
    assert_eq!(receipt["process"]["signal"], "SIGTERM");
}

#[tokio::test]
async fn of_the_supervisor_itself_leaves_nobody_behind() {
    let supervisor = started(
        "trap '' TERM; (setsid sleep 1000 &); sleep 1000 & wait",
        &["sleep 1000", "sleep 1000"],
    )
    .await;
    let everyone = descendants(supervisor.pid());
    assert!(everyone.len() >= 5, "{everyone:?}");
    signal(supervisor.pid(), Signal::KILL);
    for (pid, name) in everyone {
        eventually(&format!("{name} is gone"), async || {
            stat(pid).is_none_or(|(_, now)| now != name).then_some(())
        })
        .await;
    }
}
