//! Every fault at every moment of a build: what is left of it is its record and its log.

use std::fmt;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures::StreamExt;
use futures::future::join_all;
use futures::stream::iter;
use rustix::process::Signal;
use sandbox_protocol::time::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::harness::{Dev, Engine, Events, Sandbox, Setup, within};

const SETUP: Setup<'_> = Setup {
    vars: &[
        ("SANDBOX_REATTACH_GRACE", "4s"),
        ("SANDBOX_HEARTBEAT", "2s"),
    ],
    ..Setup::DEFAULT
};

/// The longest way down is that of a frozen supervisor: each question to it has its limit.
const SETTLES_WITHIN: Duration = Duration::from_mins(3);

/// How long after `destroyed` was said the machine's own list may be behind: the object's clock stands still between
/// two waits, and a process is listed until its parent has reaped it.
const LISTED_AFTERWARDS_MS: i64 = 1500;

/// Prints until it is ended.
const TALKS: &str = "for i in $(seq 100000); do echo line $i; sleep 0.1; done";

/// The same, and takes the three seconds of grace to end.
const RESISTS: &str =
    "trap '' TERM; for i in $(seq 100000); do echo line $i; sleep 0.1 || true; done";

/// Ends by itself.
const BRIEF: &str = "for i in 1 2 3; do echo line $i; sleep 0.1; done";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    ClientGone,
    Reload,
    WorkerdKilled,
    StorageReadBack,
    ContainerKilled,
    SupervisorKilled,
    SupervisorFrozen,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    BeforeContainer,
    DuringBuild,
    WhileDestroying,
    AfterTheEnd,
}

use Fault::{
    ClientGone, ContainerKilled, Reload, StorageReadBack, SupervisorFrozen, SupervisorKilled,
    WorkerdKilled,
};
use Moment::{AfterTheEnd, BeforeContainer, DuringBuild, WhileDestroying};

const MOMENTS: [Moment; 4] = [AfterTheEnd, DuringBuild, WhileDestroying, BeforeContainer];

impl Fault {
    /// Whether it hits every sandbox of the server at once.
    fn is_of_the_server(self) -> bool {
        matches!(self, Reload | WorkerdKilled | StorageReadBack)
    }

    /// Whether the supervisor lives on, so that the log can be completed.
    fn spares_the_supervisor(self) -> bool {
        matches!(self, ClientGone | Reload | WorkerdKilled)
    }

    /// The reason that is true of a build that it hits at `moment`, whose container had come up by then or not.
    fn reason(self, moment: Moment, came_up: bool) -> &'static str {
        match (moment, self) {
            // Nobody waits for the one that has no container yet: the next isolate starts it, and it ends by itself.
            (AfterTheEnd, _) | (BeforeContainer, Reload | WorkerdKilled | StorageReadBack) => {
                "exited"
            }
            (WhileDestroying, _) => "cancelled",
            (_, ClientGone) | (DuringBuild, Reload | WorkerdKilled) => "clientGone",
            // It depends on how far the start had come.
            (BeforeContainer, _) if !came_up => "startFailed",
            (_, StorageReadBack | ContainerKilled | SupervisorKilled) => "containerDied",
            (_, SupervisorFrozen) => "lost",
        }
    }
}

/// A build at its moment.
struct Subject<'dev> {
    sandbox: Sandbox<'dev>,
    moment: Moment,
    build: String,
    stream: Option<Events>,
    /// Its record before the fault.
    before: Value,
}

/// What became of it.
struct Cell {
    fault: Fault,
    moment: Moment,
    record: Value,
    kept: usize,
    took: Duration,
    wrong: Vec<String>,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:<17}{:<16}{:<10}{:<14}{:>8} bytes, {:<11}{:>4} s  {}",
            format!("{:?}", self.fault),
            format!("{:?}", self.moment),
            self.record["status"].as_str().unwrap_or("-"),
            self.record["reason"].as_str().unwrap_or("-"),
            self.kept,
            if self.record["logComplete"] == true {
                "complete"
            } else {
                "incomplete"
            },
            self.took.as_secs(),
            if self.wrong.is_empty() {
                "ok".to_owned()
            } else {
                self.wrong.join("; ")
            }
        )
    }
}

#[test]
#[ignore = "starts wrangler dev: run by make test"]
fn whatever_fails_a_build_leaves_its_record_and_its_log_and_nothing_else() {
    let groups: [&[Fault]; 4] = [
        &[
            ClientGone,
            ContainerKilled,
            SupervisorKilled,
            SupervisorFrozen,
        ],
        &[Reload],
        &[WorkerdKilled],
        &[StorageReadBack],
    ];
    let cells: Vec<Cell> = std::thread::scope(|scope| {
        let group = |faults: &'static [Fault]| {
            scope.spawn(move || {
                let runtime = tokio::runtime::Runtime::new().expect("threads can be made");
                runtime.block_on(cells(faults))
            })
        };
        let threads = groups.map(group);
        threads
            .into_iter()
            .flat_map(|thread| thread.join().expect("its panic is printed"))
            .collect()
    });
    for cell in &cells {
        println!("{cell}");
    }
    assert_eq!(cells.len(), 28);
    assert!(cells.iter().all(|cell| cell.wrong.is_empty()));
}

/// The cells of some faults, which share a server.
async fn cells(faults: &'static [Fault]) -> Vec<Cell> {
    let dev = Dev::start(&SETUP);
    let at_once = match dev.engine {
        Engine::Local => 4,
        Engine::Docker => 2,
    };
    let rows = iter(faults).map(|fault| row(&dev, *fault));
    let rows: Vec<Vec<Cell>> = rows.buffered(at_once).collect().await;
    rows.into_iter().flatten().collect()
}

/// One fault at the four moments.
async fn row(dev: &Dev, fault: Fault) -> Vec<Cell> {
    if !fault.is_of_the_server() {
        let cells = MOMENTS.map(|moment| async move {
            let subject = bring(dev, fault, moment).await;
            let started = Instant::now();
            let subject = hit(fault, subject).await;
            settle(fault, subject, started).await
        });
        return join_all(cells).await;
    }
    let [ended, during, destroying, before] = MOMENTS;
    let mut subjects = join_all([ended, during].map(|moment| bring(dev, fault, moment))).await;
    subjects.push(bring(dev, fault, destroying).await);
    // A start on the local engine takes no time at all, but for an engine that stands still.
    let engine = dev.engine_process();
    let signal = |signal| engine.iter().for_each(|process| process.signal(signal));
    signal(Signal::STOP);
    subjects.push(bring(dev, fault, before).await);
    match fault {
        Reload => dev.reload(),
        WorkerdKilled => dev.kill_workerd(),
        _ => tokio::task::block_in_place(|| dev.restart()),
    }
    // A restart on Docker may have to make the image first.
    let started = Instant::now();
    if let Some(stream) = subjects[1].stream.take() {
        stream.rest().await;
    }
    if fault != StorageReadBack {
        signal(Signal::CONT);
    }
    join_all(
        subjects
            .into_iter()
            .map(|subject| settle(fault, subject, started)),
    )
    .await
}

/// Brings a build to its moment; another one where a loaded machine let it pass unseen.
async fn bring(dev: &Dev, fault: Fault, moment: Moment) -> Subject<'_> {
    for _ in 0..5 {
        let subject = try_to_bring(dev, fault, moment).await;
        if moment == AfterTheEnd || subject.before["endedAt"].is_null() {
            return subject;
        }
    }
    panic!("{moment:?} was missed five times");
}

async fn try_to_bring(dev: &Dev, fault: Fault, moment: Moment) -> Subject<'_> {
    let sandbox = dev.sandbox();
    let start = |command: &str| sandbox.post("builds").json(&json!({"command": command}));
    let (build, stream) = match moment {
        BeforeContainer if fault == ClientGone => {
            let call = tokio::spawn(start(TALKS).try_send_quietly());
            let build = first_build(&sandbox).await;
            call.abort();
            (build, None)
        }
        BeforeContainer => {
            let command = if fault.is_of_the_server() {
                BRIEF
            } else {
                TALKS
            };
            let call = start(command).header("Prefer", "respond-async");
            let record = call.send().await.json().await;
            (record["id"].as_str().expect("an id").to_owned(), None)
        }
        AfterTheEnd => {
            let answer = start(BRIEF).send().await;
            let build = answer.header("Sandbox-Build-Id").to_owned();
            answer.events().rest().await;
            (build, None)
        }
        DuringBuild | WhileDestroying => {
            let command = if moment == DuringBuild {
                TALKS
            } else {
                RESISTS
            };
            let answer = start(command).send().await;
            let build = answer.header("Sandbox-Build-Id").to_owned();
            let mut events = answer.events();
            events.until("stdout").await;
            until(&sandbox, &build, "a saved log", |record| {
                record["logBytes"].as_u64() > Some(0)
            })
            .await;
            if moment == WhileDestroying {
                let cancel = sandbox.delete(&format!("builds/{build}"));
                tokio::spawn(cancel.try_send_quietly());
                until(&sandbox, &build, "the destroy", |record| {
                    record["status"] == "destroying" || record["endedAt"].is_string()
                })
                .await;
            }
            (build, Some(events))
        }
    };
    let before = if moment == BeforeContainer {
        Value::Null
    } else {
        sandbox.build(&build).await
    };
    Subject {
        sandbox,
        moment,
        build,
        stream,
        before,
    }
}

/// The id of the first build of a sandbox, as soon as it is written down.
async fn first_build(sandbox: &Sandbox<'_>) -> String {
    within(Duration::from_secs(30), "the build's row", async {
        loop {
            let list = sandbox.get("builds").send().await.json().await;
            if let Some(id) = list["builds"][0]["id"].as_str() {
                break id.to_owned();
            }
        }
    })
    .await
}

/// Asks for the record until it is as wanted.
async fn until(
    sandbox: &Sandbox<'_>,
    build: &str,
    what: &str,
    wanted: impl Fn(&Value) -> bool,
) -> Value {
    within(Duration::from_mins(2), what, async {
        let mut ticks = tokio::time::interval(Duration::from_millis(100));
        loop {
            ticks.tick().await;
            let call = sandbox.get(&format!("builds/{build}"));
            if let Ok(answer) = call.try_send().await
                && answer.status() == 200
            {
                let record = answer.json().await;
                if wanted(&record) {
                    break record;
                }
            }
        }
    })
    .await
}

/// Does what goes wrong with one sandbox.
async fn hit(fault: Fault, mut subject: Subject<'_>) -> Subject<'_> {
    if fault == ClientGone {
        drop(subject.stream.take());
        return subject;
    }
    let sandbox = &subject.sandbox;
    if subject.moment == BeforeContainer {
        // As soon as there is something.
        within(Duration::from_mins(1), "a container", async {
            let mut ticks = tokio::time::interval(Duration::from_millis(5));
            while sandbox.remains().is_empty() {
                ticks.tick().await;
            }
        })
        .await;
    }
    if subject.moment != AfterTheEnd {
        match fault {
            ContainerKilled => sandbox.kill_container(),
            SupervisorKilled => sandbox.signal_supervisor(Signal::KILL),
            _ => sandbox.signal_supervisor(Signal::STOP),
        }
    }
    subject
}

/// Waits until nothing is left, without a request from outside, and looks at what is told afterwards.
async fn settle(fault: Fault, subject: Subject<'_>, started: Instant) -> Cell {
    let Subject {
        sandbox,
        moment,
        build,
        before,
        stream,
    } = subject;
    let mut wrong = Vec::new();
    let wanted = match moment {
        BeforeContainer => &Value::Null,
        DuringBuild => &json!("running"),
        WhileDestroying => &json!("destroying"),
        AfterTheEnd => &json!("succeeded"),
    };
    if &before["status"] != wanted {
        wrong.push(format!("the moment was missed: {before}"));
    }
    let mut last_seen = Timestamp(0);
    let mut ticks = tokio::time::interval(Duration::from_millis(500));
    loop {
        ticks.tick().await;
        let left = sandbox.remains();
        if !left.is_empty() {
            last_seen = wall_clock();
        }
        let alarm = left.is_empty() && tokio::task::block_in_place(|| sandbox.has_alarm());
        if left.is_empty() && !alarm {
            break;
        }
        if started.elapsed() > SETTLES_WITHIN {
            wrong.push(format!("left: {left:?}, alarm: {alarm}"));
            break;
        }
    }
    let took = started.elapsed();
    drop(stream);
    let record = until(&sandbox, &build, "any record", |_| true).await;
    let events = sandbox.get("events").send().await.json().await;
    let came_up = count(&events, "running") > 0;
    if record["endedAt"].is_null() || record["reason"] != fault.reason(moment, came_up) {
        wrong.push(format!("came up: {came_up}, and the record is {record}"));
    }
    let said = Timestamp::deserialize(&record["endedAt"]).map_or(0, |Timestamp(ms)| ms);
    if record["destroyed"] != true || last_seen.0 > said + LISTED_AFTERWARDS_MS {
        let late = last_seen.0 - said;
        wrong.push(format!(
            "listed {late} ms after it was said to be destroyed: {record}"
        ));
    }
    if moment == AfterTheEnd && record != before {
        wrong.push("the final record has changed".to_owned());
    }
    let destroys = count(&events, "destroyed");
    if destroys != 1 {
        wrong.push(format!("destroyed {destroys} times: {events}"));
    }
    let logs = sandbox.get(&format!("builds/{build}/logs"));
    let kept = logs.header("Accept", "text/plain").send().await;
    let kept = kept.text().await;
    check_log(fault, moment, &before, &record, &kept, &mut wrong);
    Cell {
        fault,
        moment,
        record,
        kept: kept.len(),
        took,
        wrong,
    }
}

/// How often the lifecycle log has `event`.
fn count(events: &Value, event: &str) -> usize {
    let log = events["events"].as_array().expect("a list of events");
    log.iter().filter(|entry| entry["event"] == event).count()
}

fn wall_clock() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let ms = since.expect("it is later than 1970").as_millis();
    Timestamp(i64::try_from(ms).expect("it is earlier than the year 292 million"))
}

fn check_log(
    fault: Fault,
    moment: Moment,
    before: &Value,
    record: &Value,
    kept: &str,
    wrong: &mut Vec<String>,
) {
    let written: String = (1..)
        .map(|i| format!("line {i}\n"))
        .take(kept.lines().count())
        .collect();
    if kept != written {
        wrong.push(format!("the kept log is {kept:?}"));
    }
    let saved = before["logBytes"].as_u64().unwrap_or(0);
    if (kept.len() as u64) < saved {
        wrong.push(format!("of {saved} saved bytes {} are kept", kept.len()));
    }
    let complete = record["logComplete"] == true;
    let ran = record["reason"] != "startFailed";
    if fault.spares_the_supervisor() && ran && moment != BeforeContainer && !complete {
        wrong.push("the log is incomplete though the supervisor lived".to_owned());
    }
    if complete && record["logBytes"].as_u64() != Some(kept.len() as u64) {
        wrong.push(format!(
            "{} bytes are kept of {}",
            kept.len(),
            record["logBytes"]
        ));
    }
}
