//! What is left of a build after a fault, and whether that is true of it.

use std::fmt;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use sandbox_protocol::time::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::fault::Fault;
use super::fault::Moment::{self, AfterTheEnd, BeforeContainer, DuringBuild, WhileDestroying};
use super::moment::{Subject, until};

/// The longest way down is that of a frozen supervisor: each question to it has its limit.
const SETTLES_WITHIN: Duration = Duration::from_mins(3);

/// How long after `destroyed` was said the machine's own list may be behind: the object's clock stands still between
/// two waits, and a process is listed until its parent has reaped it.
const LISTED_AFTERWARDS_MS: i64 = 1500;

/// What became of it.
pub(super) struct Cell {
    fault: Fault,
    moment: Moment,
    record: Value,
    kept: usize,
    took: Duration,
    /// What is not as it should be.
    pub(super) wrong: Vec<String>,
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

/// Waits until nothing is left, without a request from outside, and looks at what is told afterwards.
pub(super) async fn settle(fault: Fault, subject: Subject<'_>, started: Instant) -> Cell {
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
