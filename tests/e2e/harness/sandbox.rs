//! One sandbox of a test, and what the machine has of it.

use super::client::{Call, Events};
use super::dev::{Dev, Engine};
use super::processes::{Process, descendants, resident_bytes, signal_pid};
use super::storage::query;
use rustix::process::Signal;
use serde_json::Value;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

static COUNT: AtomicU32 = AtomicU32::new(0);

/// An id that no other test uses.
pub(crate) struct Sandbox<'dev> {
    dev: &'dev Dev,
    pub(crate) id: String,
}

impl<'dev> Sandbox<'dev> {
    pub(super) fn new(dev: &'dev Dev) -> Self {
        let id = format!(
            "t{}-{}",
            COUNT.fetch_add(1, Ordering::Relaxed),
            std::process::id()
        );
        Self { dev, id }
    }

    /// `/v1/sandbox/{id}/{rest}`, or the sandbox itself where `rest` is empty.
    pub(crate) fn path(&self, rest: &str) -> String {
        let slash = if rest.is_empty() { "" } else { "/" };
        format!("/v1/sandbox/{}{slash}{rest}", self.id)
    }

    /// A `GET` of something of it.
    pub(crate) fn get(&self, rest: &str) -> Call {
        self.dev.get(&self.path(rest))
    }

    /// A `POST` to something of it.
    pub(crate) fn post(&self, rest: &str) -> Call {
        self.dev.post(&self.path(rest))
    }

    /// A `PUT` of something of it.
    pub(crate) fn put(&self, rest: &str) -> Call {
        self.dev.put(&self.path(rest))
    }

    /// A `PATCH` of something of it, or of itself where `rest` is empty.
    pub(crate) fn patch(&self, rest: &str) -> Call {
        self.dev.call(hyper::Method::PATCH, &self.path(rest))
    }

    /// A `DELETE` of something of it, or of itself where `rest` is empty.
    pub(crate) fn delete(&self, rest: &str) -> Call {
        self.dev.delete(&self.path(rest))
    }

    /// Starts a process; it runs when this returns.
    pub(crate) async fn start_process(&self, request: &Value) {
        let started = self.post("processes").json(request).send().await;
        assert_eq!(started.status(), 201, "{}", started.text().await);
    }

    /// Starts a build; its id, and the stream of its log.
    pub(crate) async fn start_build(&self, request: &Value) -> (String, Events) {
        let answer = self.post("builds").json(request).send().await;
        let build = answer.header("Sandbox-Build-Id").to_owned();
        (build, answer.events())
    }

    /// How often it was destroyed, by its own lifecycle log.
    pub(crate) async fn destroys(&self) -> usize {
        let log = self.get("events").send().await.json().await;
        let events = log["events"].as_array().expect("a list of events");
        events
            .iter()
            .filter(|event| event["event"] == "destroyed")
            .count()
    }

    /// The record of a build.
    pub(crate) async fn build(&self, id: &str) -> Value {
        self.get(&format!("builds/{id}")).send().await.json().await
    }

    /// Its containers or processes that are there now, each as a line for a person. The networking sidecar is not
    /// one of them: it stays while the object is warm.
    pub(crate) fn remains(&self) -> Vec<String> {
        match self.dev.engine {
            Engine::Docker => self.containers(),
            Engine::Local => self
                .processes()
                .iter()
                .map(|process| format!("{process:?}"))
                .collect(),
        }
    }

    /// Kills the whole sandbox from outside: its container, or on the local engine its supervisor.
    pub(crate) fn kill(&self) {
        match self.dev.engine {
            Engine::Docker => {
                let names = self.containers();
                assert_eq!(names.len(), 1, "one container runs: {names:?}");
                docker(&["rm", "--force", &names[0]]);
            }
            Engine::Local => {
                // The launcher, then the supervisor it forked: by the same command line.
                let mut own = self.processes();
                own.retain(|process| process.command.contains(&self.id));
                own.get(1).expect("the supervisor runs").kill();
            }
        }
    }

    /// Signals its supervisor alone, or on the local engine its launcher where there is no more yet.
    pub(crate) fn signal_supervisor(&self, signal: Signal) {
        if let Some(pid) = self.supervisor_pid() {
            signal_pid(pid, signal);
        }
    }

    /// Kills what holds its supervisor: the container, or on the local engine the launcher.
    pub(crate) fn kill_container(&self) {
        match self.dev.engine {
            Engine::Docker => {
                for name in self.containers() {
                    docker(&["rm", "--force", &name]);
                }
            }
            Engine::Local => {
                if let Some(launcher) = self.processes().first() {
                    launcher.kill();
                }
            }
        }
    }

    fn supervisor_pid(&self) -> Option<u32> {
        match self.dev.engine {
            Engine::Docker => {
                let name = self.containers().into_iter().next()?;
                let pid = docker(&["inspect", "--format", "{{.State.Pid}}", &name]);
                pid.trim().parse().ok().filter(|pid| *pid > 0)
            }
            Engine::Local => {
                let mut own = self.processes();
                own.retain(|process| process.command.contains(&self.id));
                own.get(1).or(own.first()).map(|process| process.pid)
            }
        }
    }

    /// Whether its object has an alarm, as workerd stored it.
    pub(crate) fn has_alarm(&self) -> bool {
        let made = "SELECT 1 FROM sqlite_master WHERE name = '_cf_METADATA'";
        !self.stored(made).is_empty()
            && !self
                .stored("SELECT 1 FROM _cf_METADATA WHERE key = 1 AND CAST(value AS TEXT) <> ''")
                .is_empty()
    }

    /// The scopes that its object has on record, by their ids.
    pub(crate) fn scopes(&self) -> Vec<String> {
        let made = "SELECT 1 FROM sqlite_master WHERE name = 'scopes'";
        if self.stored(made).is_empty() {
            return Vec::new();
        }
        let rows = self.stored("SELECT id FROM scopes");
        let id = |row: &Value| row["id"].as_str().expect("an id").to_owned();
        rows.iter().map(id).collect()
    }

    /// What `sql` gives of what its object has stored; past the object, which may sleep.
    pub(crate) fn stored(&self, sql: &str) -> Vec<Value> {
        query(&self.dev.storage("Sandbox", &self.id), sql)
    }

    /// Its launcher, then its supervisor, then what that started. Empty on Docker, where they are in the container.
    pub(crate) fn processes(&self) -> Vec<Process> {
        let all = descendants(self.dev.pid());
        // An object that another server's Worker found has a number in the place of its name.
        let number = &self.dev.object_id("Sandbox", &self.id)[..32];
        let own = |process: &&Process| {
            process.command.contains(&self.id) || process.command.contains(number)
        };
        let Some(launcher) = all.iter().find(own) else {
            return Vec::new();
        };
        let mut processes = vec![launcher.clone()];
        processes.extend(descendants(launcher.pid));
        processes
    }

    /// The resident memory of its supervisor, in bytes; nothing while there is none.
    pub(crate) fn supervisor_memory(&self) -> Option<u64> {
        let pid = match self.dev.engine {
            Engine::Docker => self.supervisor_pid()?,
            Engine::Local => self.processes().first()?.pid,
        };
        resident_bytes(pid)
    }

    fn containers(&self) -> Vec<String> {
        let name = format!(
            "name=-{}-Sandbox-{}$",
            self.dev.run,
            self.dev.object_id("Sandbox", &self.id)
        );
        let names = docker(&["ps", "--all", "--filter", &name, "--format", "{{.Names}}"]);
        names.lines().map(str::to_owned).collect()
    }
}

fn docker(arguments: &[&str]) -> String {
    let output = Command::new("docker")
        .args(arguments)
        .output()
        .expect("docker is installed");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "docker {arguments:?}: {errors}");
    String::from_utf8(output.stdout).expect("names are ASCII")
}
