//! Control groups: each tree has one, a kill empties it, and it goes with the tree. Where the kernel lets us
//! have none, the same is true of the trees, and there are no groups.

use std::fs;
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::groups::{self, Home, supervisor, told_limits};
use crate::harness::{BINARY, Supervisor, is_alive};
use crate::proc::{alone, descendants, ended, eventually, executing, signal, stat};

/// Starts `command` as `a` and waits until all of `children` run.
async fn start(supervisor: &Supervisor, command: &str, children: &[&str]) -> u32 {
    let body = json!({"command": command, "id": "a"});
    let answer = supervisor.post("/processes", &body).await;
    assert_eq!(answer.status, 201, "{command}: {:?}", answer.body);
    executing(supervisor, children).await;
    u32::try_from(answer.json()["pid"].as_u64().unwrap()).unwrap()
}

/// Kills `a` and sees for itself that nobody is left, and no group.
async fn kill(supervisor: &Supervisor, home: Option<&Home>, kill: &Value) -> Value {
    let answer = supervisor.post("/processes/a/kill", kill).await;
    let receipt = answer.json();
    assert_eq!(answer.status, 200, "{receipt}");
    assert_eq!(receipt["survivors"], json!([]));
    let left: Vec<_> = descendants(supervisor.pid())
        .into_iter()
        .filter(|(_, name)| name != "zygote" && name != "shim")
        .collect();
    assert_eq!(left, [], "alive after the answer");
    // The answer is not before the group is gone.
    assert_eq!(home.map_or(0, |home| home.groups().len()), 0);
    receipt
}

#[tokio::test]
async fn a_tree_has_one_of_its_own_and_we_are_not_in_it() {
    let (supervisor, home) = supervisor().await;
    let tree = "(env -i setsid sleep 1000 &); sleep 2000 & wait";
    let root = start(&supervisor, tree, &["sleep 1000", "sleep 2000"]).await;
    if let Some(home) = &home {
        eventually("those in between are gone", async || {
            (home.groups().first()?.1.len() == 3).then_some(())
        })
        .await;
        let groups = home.groups();
        let (_, members) = &groups[0];
        assert!(groups.len() == 1 && members.contains(&root), "{groups:?}");
        let below = descendants(supervisor.pid());
        for (pid, name) in below {
            let ours = name == "zygote" || name == "shim";
            assert_ne!(members.contains(&pid), ours, "{name}");
        }
    }
    kill(&supervisor, home.as_ref(), &json!({})).await;
}

#[tokio::test]
async fn a_command_and_each_run_of_a_restart_have_another() {
    let (mut supervisor, home) = supervisor().await;
    let body = json!({
        "command": "grep 0:: /proc/self/cgroup; exit 1", "id": "a",
        "restart": {"policy": "on-failure", "maxRestarts": 2, "backoffMs": 1},
    });
    supervisor.post("/processes", &body).await;
    assert_eq!(ended(&supervisor, "a").await["restarts"], 2);
    let logs = supervisor.get("/processes/a/logs").await.json();
    let mut seen: Vec<String> = logs["stdout"]
        .as_str()
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect();
    let body = json!({"command": "grep 0:: /proc/self/cgroup"});
    let answer = supervisor.post("/exec", &body).await;
    assert_eq!(answer.status, 200);
    seen.dedup();
    if let Some(home) = &home {
        assert_eq!(seen.len(), 3, "{seen:?}");
        home.empty().await;
    }
    assert!(supervisor.terminate().success());
}

#[tokio::test]
async fn a_start_that_fails_leaves_none() {
    let (supervisor, home) = supervisor().await;
    for body in [
        json!({"command": "true", "cwd": "/nowhere"}),
        json!({"argv": ["no-such-program"]}),
    ] {
        assert_eq!(supervisor.post("/processes", &body).await.status, 400);
        assert_eq!(home.as_ref().map_or(0, |home| home.groups().len()), 0);
    }
    alone(&supervisor).await;
}

#[tokio::test]
async fn no_escape_artist_outlives_a_kill() {
    let (supervisor, home) = supervisor().await;
    for (artist, children) in [
        ("trap '' TERM; sleep 1000 & while :; do wait; done", 1),
        (
            "(env -i setsid sleep 1000 </dev/null &); exec sleep 1000",
            2,
        ),
        (
            "sleep 1000 & until grep -q sleep /proc/$!/comm; do :; done; kill -STOP $!; setsid sleep 1000 & kill -STOP $$",
            2,
        ),
        (
            "trap '' TERM; while :; do sleep 1000 & ((++n < 300)) || wait -n; done",
            20,
        ),
        ("trap '' TERM; run() { (run &) }; run; sleep 1000", 1),
    ] {
        for how in [json!({"signal": "SIGKILL"}), json!({"graceMs": 30})] {
            start(&supervisor, artist, &vec!["sleep 1000"; children]).await;
            let receipt = kill(&supervisor, home.as_ref(), &how).await;
            assert!(
                count(&receipt["signalled"]) >= children,
                "{artist}: {receipt}"
            );
        }
    }
    alone(&supervisor).await;
}

#[tokio::test]
async fn one_that_makes_groups_of_its_own_or_freezes_is_killed_and_they_go() {
    let (supervisor, Some(home)) = supervisor().await else {
        return;
    };
    let group = format!(
        "{}/$(sed -n 's/^0::.*\\///p' /proc/self/cgroup)",
        home.path().display()
    );
    let groups = "mkdir -p $g/1/1; echo $$ > $g/1/1/cgroup.procs; sleep 1000 & wait";
    start(
        &supervisor,
        &format!("g={group}; {groups}"),
        &["sleep 1000"],
    )
    .await;
    let receipt = kill(&supervisor, Some(&home), &json!({})).await;
    assert_eq!(count(&receipt["signalled"]), 2, "{receipt}");

    let freezes = "trap '' TERM; sleep 1000 & until grep -q sleep /proc/$!/comm; do :; done; echo 1 > $g/cgroup.freeze; wait";
    start(
        &supervisor,
        &format!("g={group}; {freezes}"),
        &["sleep 1000"],
    )
    .await;
    eventually("all of it is frozen", async || {
        let (group, _) = home.groups().pop()?;
        let events = fs::read_to_string(group.join("cgroup.events")).ok()?;
        events.contains("frozen 1").then_some(())
    })
    .await;
    let receipt = kill(&supervisor, Some(&home), &json!({"graceMs": 50})).await;
    assert_eq!(count(&receipt["killed"]), 2, "{receipt}");
}

fn count(list: &Value) -> usize {
    list.as_array().unwrap().len()
}

/// A process of ours in the group of `root`.
fn stranger(root: u32) -> Child {
    let child = Command::new("sleep").arg("1000").spawn().unwrap();
    let members = groups::of(root).unwrap().join("cgroup.procs");
    fs::write(members, child.id().to_string()).unwrap();
    child
}

#[tokio::test]
async fn whoever_is_in_the_group_belongs_to_the_tree() {
    let (supervisor, Some(home)) = supervisor().await else {
        return;
    };
    let root = start(&supervisor, "sleep 1000", &["sleep 1000"]).await;
    let mut other = stranger(root);
    let process = supervisor.get("/processes/a").await.json();
    assert_eq!(process["descendants"], 1);
    let receipt = kill(&supervisor, Some(&home), &json!({})).await;
    assert_eq!(count(&receipt["signalled"]), 2, "{receipt}");
    assert!(!is_alive(other.id()));
    other.wait().unwrap();

    // And has no longer a life than it, where nobody kills.
    let root = start(&supervisor, "read -t 1000 <> <(:)", &[]).await;
    let mut other = stranger(root);
    signal(root, Signal::HUP);
    ended(&supervisor, "a").await;
    home.empty().await;
    other.wait().unwrap();
}

#[tokio::test]
async fn of_a_tree_without_its_shim_it_is_emptied_all_the_same() {
    let (supervisor, home) = supervisor().await;
    let tree = "(setsid sleep 1000 &); exec sleep 2000";
    let root = start(&supervisor, tree, &["sleep 1000", "sleep 2000"]).await;
    let (shim, _) = stat(root).unwrap();
    signal(shim, Signal::KILL);
    eventually("the shim is gone", async || {
        stat(shim).is_none().then_some(())
    })
    .await;
    signal(root, Signal::INT);
    let process = ended(&supervisor, "a").await;
    assert_eq!(process["signal"], "SIGINT");
    alone(&supervisor).await;
    if let Some(home) = &home {
        home.empty().await;
    }
}

#[tokio::test]
async fn a_limit_holds_in_a_group_as_it_does_without() {
    let (supervisor, home) = supervisor().await;
    if let Some(home) = &home {
        let file = home.path().join("cgroup.subtree_control");
        let controllers = fs::read_to_string(file).unwrap();
        let expected = ["memory", "pids"].map(|name| controllers.contains(name));
        assert_eq!(told_limits(&supervisor).await, expected);
    }
    let memory = json!({
        "command": "x=$(head -c 100000000 /dev/zero | tr '\\0' x); sleep 1000", "id": "a",
        "limits": {"memoryBytes": 50_000_000},
    });
    let processes = json!({
        "command": "for i in 1 2 3 4 5 6; do sleep 1000 & done; wait", "id": "b",
        "limits": {"processes": 4},
    });
    supervisor.post("/processes", &memory).await;
    supervisor.post("/processes", &processes).await;
    assert_eq!(ended(&supervisor, "a").await["reason"], "oom");
    assert_eq!(ended(&supervisor, "b").await["reason"], "processLimit");
    alone(&supervisor).await;
    if let Some(home) = &home {
        home.empty().await;
    }
}

#[tokio::test]
async fn a_supervisor_that_is_alone_in_its_group_makes_room_in_it() {
    let (_, Some(home)) = supervisor().await else {
        return;
    };
    let enter = "echo $$ > \"$0/cgroup.procs\" && exec \"$1\"";
    let mut command = Command::new("bash");
    command.args(["-c", enter, home.path().to_str().unwrap(), BINARY]);
    let mut supervisor = Supervisor::start_by(command.stdin(Stdio::null()), &[]);
    let root = start(&supervisor, "sleep 1000", &["sleep 1000"]).await;
    let below = |pid| {
        groups::of(pid)
            .unwrap()
            .strip_prefix(home.path())
            .unwrap()
            .to_owned()
    };
    assert_eq!(below(supervisor.pid()).to_str(), Some("supervisor"));
    assert_eq!(below(root).to_str(), Some("processes/1"));
    kill(&supervisor, None, &json!({})).await;
    assert!(!home.path().join("processes/1").exists());
    assert!(supervisor.terminate().success());
}
