//! What the tests see for themselves in `/proc`, and how they wait for it.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::Supervisor;

/// How long anything may take that is waited for.
const LIMIT: Duration = Duration::from_secs(20);

/// Asks `probe` until it has an answer; panics with `what` if it never has.
pub(crate) async fn eventually<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    let mut looks = tokio::time::interval(Duration::from_millis(5));
    while begun.elapsed() < LIMIT {
        looks.tick().await;
        if let Some(answer) = probe().await {
            return answer;
        }
    }
    panic!("not within {LIMIT:?}: {what}")
}

/// Waits until the process of this id has one of the final statuses, and tells what it is then.
pub(crate) async fn ended(supervisor: &Supervisor, id: &str) -> Value {
    let path = format!("/processes/{id}");
    eventually("the process ends", async || {
        let process = supervisor.get(&path).await.json();
        let over = !matches!(process["status"].as_str(), Some("starting" | "running"));
        over.then_some(process)
    })
    .await
}

/// Waits until the process of this id has at least so many descendants.
pub(crate) async fn grown(supervisor: &Supervisor, id: &str, descendants: u64) {
    let path = format!("/processes/{id}");
    eventually("the tree grows", async || {
        let process = supervisor.get(&path).await.json();
        (process["descendants"].as_u64() >= Some(descendants)).then_some(())
    })
    .await;
}

/// Waits until each of these commands has been executed below the supervisor, as often as it is named. Until then
/// there is at most a copy of the shell that is about to.
pub(crate) async fn executing(supervisor: &Supervisor, commands: &[&str]) {
    eventually(&format!("{commands:?} run"), async || {
        let below = descendants(supervisor.pid());
        let mut running: Vec<String> = below.iter().filter_map(|(pid, _)| command(*pid)).collect();
        let all = commands.iter().all(|wanted| {
            let found = running.iter().position(|command| command == wanted);
            found.map(|index| running.swap_remove(index)).is_some()
        });
        all.then_some(())
    })
    .await;
}

/// The words that `pid` was executed with.
fn command(pid: u32) -> Option<String> {
    let words = fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?;
    Some(words.trim_end_matches('\0').replace('\0', " "))
}

/// Everyone below `pid`, zombies included, with their names.
pub(crate) fn descendants(pid: u32) -> Vec<(u32, String)> {
    let everyone: Vec<(u32, u32, String)> = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok())
        .filter_map(|pid: u32| stat(pid).map(|(parent, name)| (pid, parent, name)))
        .collect();
    let mut found = Vec::new();
    let mut parents = vec![pid];
    while let Some(parent) = parents.pop() {
        for (pid, _, name) in everyone.iter().filter(|(_, of, _)| *of == parent) {
            parents.push(*pid);
            found.push((*pid, name.clone()));
        }
    }
    found
}

/// Waits until the supervisor has nobody but its zygote. Shims leave a moment after the answer.
pub(crate) async fn alone(supervisor: &Supervisor) {
    eventually("nobody but the zygote is left", async || {
        let left = descendants(supervisor.pid());
        (left.len() == 1 && left[0].1 == "zygote").then_some(())
    })
    .await;
}

/// Waits until there is nobody but the zygote, and shims that wait for the next command; the latter.
pub(crate) async fn at_rest(supervisor: &Supervisor) -> Vec<u32> {
    eventually(
        "nobody but the zygote and shims without a child is left",
        async || {
            let mut left = descendants(supervisor.pid());
            left.retain(|(_, name)| name != "zygote");
            let rests = |(pid, name): &(u32, String)| {
                let ours = stat(*pid).is_some_and(|(parent, _)| parent == supervisor.pid());
                name == "shim" && ours && !is_zombie(*pid)
            };
            let all = left.iter().all(rests);
            all.then(|| left.into_iter().map(|(pid, _)| pid).collect())
        },
    )
    .await
}

fn is_zombie(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_none_or(|(_, rest)| rest.starts_with('Z'))
}

/// Waits until none of these, by number and name, is there any more.
pub(crate) async fn gone(everyone: Vec<(u32, String)>) {
    for (pid, name) in everyone {
        eventually(&format!("{name} is gone"), async || {
            stat(pid).is_none_or(|(_, now)| now != name).then_some(())
        })
        .await;
    }
}

/// Parent and name of `pid`; `None` if there is no such process.
pub(crate) fn stat(pid: u32) -> Option<(u32, String)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (begin, rest) = stat.rsplit_once(") ")?;
    let name = begin.split_once('(')?.1.to_owned();
    Some((rest.split(' ').nth(1)?.parse().ok()?, name))
}

/// How many descriptors `pid` has open.
pub(crate) fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

/// Sends a signal to one process.
pub(crate) fn signal(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(pid.try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}
