//! Logs over HTTP, of real processes.

use std::fs;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::{Method, Response};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::harness::{Answer, Supervisor, request};
use crate::proc::{ended, signal};

/// How long anything may take that is waited for.
const LIMIT: Duration = Duration::from_secs(20);

async fn start(supervisor: &Supervisor, command: &str) {
    let body = json!({"command": command, "id": "p"});
    let answer = supervisor.post("/processes", &body).await;
    assert_eq!(answer.status, 201, "{:?}", answer.body);
}

/// One event of a stream.
#[derive(Clone, Debug, PartialEq)]
struct Event {
    id: String,
    data: Value,
}

/// Follows a log as a browser does.
struct Follower {
    answer: Response<Incoming>,
    unread: Vec<u8>,
    comments: usize,
}

impl Follower {
    async fn open(supervisor: &Supervisor, query: &str, last: Option<&str>) -> Self {
        let path = format!("/processes/p/logs?follow=true{query}");
        let mut request = request(Method::GET, &path);
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let request = request.body(Empty::<Bytes>::new()).unwrap();
        Self {
            answer: supervisor.send(request).await,
            unread: Vec::new(),
            comments: 0,
        }
    }

    /// The next event; `None` at the end of the stream.
    async fn next(&mut self) -> Option<Event> {
        loop {
            while let Some(end) = self.unread.windows(2).position(|pair| pair == b"\n\n") {
                let frame: Vec<u8> = self.unread.drain(..end + 2).collect();
                let frame = String::from_utf8(frame).unwrap();
                if frame.starts_with(':') {
                    self.comments += 1;
                    continue;
                }
                let (id, data) = frame.trim_end().split_once("\ndata: ").unwrap();
                return Some(Event {
                    id: id.strip_prefix("id: ").unwrap().to_owned(),
                    data: serde_json::from_str(data).unwrap(),
                });
            }
            let frame = tokio::time::timeout(LIMIT, self.answer.frame())
                .await
                .expect("something comes in time")?;
            let frame = frame.expect("the stream is not broken off");
            self.unread.extend(frame.into_data().unwrap());
        }
    }

    async fn rest(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            events.push(event);
        }
        events
    }
}

fn text(events: &[Event]) -> String {
    let output = events.iter().filter(|event| event.data["type"] != "exit");
    output
        .map(|event| event.data["data"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn a_follower_gets_lines_as_they_are_printed_and_the_exit_last() {
    let supervisor = Supervisor::start();
    let fifo = supervisor.folder().join("fifo");
    let path = fifo.display().to_string();
    start(
        &supervisor,
        &format!("mkfifo -m 666 {path}; echo one; echo prompt'> ' | tr -d '\\n' >&2; read line < {path}; echo $line; exit 3"),
    )
    .await;
    let mut follower = Follower::open(&supervisor, "", None).await;
    let headers = follower.answer.headers();
    assert_eq!(headers["content-type"], "text/event-stream");
    assert_eq!(headers["cache-control"], "no-cache");
    assert_eq!(headers["x-accel-buffering"], "no");
    // Two pipes have no order between them.
    let mut both = [
        follower.next().await.unwrap().data,
        follower.next().await.unwrap().data,
    ];
    both.sort_by_key(|event| event["type"] == "stderr");
    for (event, stream, printed) in [
        (&both[0], "stdout", "one\n"),
        (&both[1], "stderr", "prompt> "),
    ] {
        assert_eq!(event["type"], stream);
        assert_eq!(event["data"], printed);
        assert_eq!(event["processId"], "p");
    }
    tokio::task::spawn_blocking(move || std::fs::write(fifo, "two\n"))
        .await
        .unwrap()
        .unwrap();
    let rest = follower.rest().await;
    assert_eq!(text(&rest), "two\n");
    let exit = &rest.last().unwrap().data;
    assert_eq!(exit["type"], "exit");
    assert_eq!(
        (&exit["exitCode"], &exit["reason"]),
        (&json!(3), &json!("exited"))
    );
    assert_eq!(
        rest.iter()
            .filter(|event| event.data["type"] == "exit")
            .count(),
        1
    );
}

#[tokio::test]
async fn a_quiet_stream_of_lines_has_an_empty_line_now_and_then() {
    let supervisor = Supervisor::start_with(&[("SANDBOX_HEARTBEAT", "50ms")]);
    start(&supervisor, "exec sleep 1000").await;
    let request = request(Method::GET, "/processes/p/logs?follow=true")
        .header("accept", "application/x-ndjson")
        .body(Empty::<Bytes>::new());
    let mut answer = supervisor.send(request.unwrap()).await;
    for _ in 0..2 {
        let frame = tokio::time::timeout(LIMIT, answer.frame()).await.unwrap();
        let frame = frame.unwrap().unwrap().into_data().unwrap();
        assert_eq!(&frame[..], b"\n");
    }
}

#[tokio::test]
async fn the_kill_of_a_root_by_somebody_else_is_told_as_what_it_was() {
    let supervisor = Supervisor::start();
    start(&supervisor, "echo one; exec sleep 1000").await;
    let mut follower = Follower::open(&supervisor, "", None).await;
    assert_eq!(follower.next().await.unwrap().data["data"], "one\n");
    let process = supervisor.get("/processes/p").await.json();
    let root = process["pid"].as_u64().unwrap().try_into().unwrap();
    signal(root, Signal::KILL);
    let rest = follower.rest().await;
    assert_eq!(rest.len(), 1, "{rest:?}");
    let exit = &rest[0].data;
    assert_eq!(
        (&exit["type"], &exit["exitCode"]),
        (&json!("exit"), &json!(null))
    );
    assert_eq!(
        (&exit["signal"], &exit["reason"]),
        (&json!("SIGKILL"), &json!("signaled"))
    );
}

#[tokio::test]
async fn from_every_event_on_the_rest_comes_once() {
    let supervisor = Supervisor::start();
    start(
        &supervisor,
        "for i in $(seq 20); do echo out $i; echo err $i >&2; done",
    )
    .await;
    ended(&supervisor, "p").await;
    for selected in ["both", "stdout", "stderr"] {
        let query = format!("&stream={selected}");
        let all = Follower::open(&supervisor, &query, None).await.rest().await;
        for (index, event) in all.iter().enumerate() {
            let mut resumed = Follower::open(&supervisor, &query, Some(&event.id)).await;
            if index + 1 == all.len() {
                assert_eq!(resumed.answer.status(), 204);
            } else {
                assert_eq!(resumed.rest().await, all[index + 1..]);
            }
        }
    }
}

#[tokio::test]
async fn a_cursor_that_does_not_fit_is_refused() {
    let supervisor = Supervisor::start();
    start(&supervisor, "echo once").await;
    let exit = Follower::open(&supervisor, "", None)
        .await
        .rest()
        .await
        .pop()
        .unwrap();
    start(&supervisor, "echo again").await;
    for (cursor, status, code) in [
        (exit.id.as_str(), 409, "STALE_CURSOR"),
        ("nonsense", 400, "INVALID_CURSOR"),
        ("another.1.0.0.0", 409, "STALE_CURSOR"),
    ] {
        let path = format!("/processes/p/logs?since={cursor}");
        assert_eq!(
            supervisor.get(&path).await.code(),
            (status, code.to_owned())
        );
    }
    let answer = supervisor.get("/processes/p/logs").await.json();
    let cursor = answer["cursor"].as_str().unwrap();
    let (rest, stdout) = cursor
        .split_once('.')
        .map(|(boot, _)| (boot, "99"))
        .unwrap();
    let beyond = format!("/processes/p/logs?since={rest}.2.{stdout}.0.0");
    assert_eq!(
        supervisor.get(&beyond).await.code(),
        (400, "INVALID_CURSOR".to_owned())
    );
}

#[tokio::test]
async fn every_form_has_the_same_log() {
    let supervisor = Supervisor::start();
    start(
        &supervisor,
        "printf 'grün\\n'; printf '\\377\\000' >&2; exit 0",
    )
    .await;
    ended(&supervisor, "p").await;
    let logs = supervisor.get("/processes/p/logs").await.json();
    assert_eq!(logs["stdout"], "grün\n");
    assert_eq!(logs["stderr"], "\u{fffd}\0");
    assert_eq!(
        (&logs["processId"], &logs["truncated"]),
        (&json!("p"), &json!(false))
    );
    let plain = accept(&supervisor, "text/plain", "?stream=stderr").await;
    assert_eq!(&plain.body[..], [0xff, 0x00]);
    let lines = accept(&supervisor, "application/x-ndjson", "").await;
    let lines: Vec<Value> = std::str::from_utf8(&lines.body)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let binary = lines.iter().find(|line| line["type"] == "stderr").unwrap();
    assert_eq!(
        (&binary["data"], &binary["encoding"]),
        (&json!("/wA="), &json!("base64"))
    );
    assert_eq!(lines.last().unwrap()["cursor"], logs["cursor"]);
    let tail = accept(
        &supervisor,
        "text/plain",
        "?stream=stdout&tail=1&timestamps=true",
    )
    .await;
    let tail = String::from_utf8(tail.body.to_vec()).unwrap();
    assert!(
        tail.starts_with("20") && tail.ends_with("Z grün\n"),
        "{tail}"
    );
}

async fn accept(supervisor: &Supervisor, media_type: &str, query: &str) -> Answer {
    let request = request(Method::GET, &format!("/processes/p/logs{query}"));
    let request = request.header("accept", media_type);
    let request = request.body(Empty::<Bytes>::new()).unwrap();
    let answer = Answer::read(supervisor.send(request).await).await;
    let told = answer.headers["content-type"].to_str().unwrap();
    assert!(told.starts_with(media_type), "{told}");
    answer
}

#[tokio::test]
async fn a_snapshot_of_what_still_runs_ends_without_an_exit() {
    let supervisor = Supervisor::start();
    start(&supervisor, "echo here; exec sleep 1000").await;
    Follower::open(&supervisor, "", None)
        .await
        .next()
        .await
        .unwrap();
    let snapshot = accept(&supervisor, "text/event-stream", "").await;
    let snapshot = String::from_utf8(snapshot.body.to_vec()).unwrap();
    assert!(
        snapshot.contains("here") && !snapshot.contains("exit"),
        "{snapshot}"
    );
}

#[tokio::test]
async fn a_quiet_stream_lives_by_comments_that_move_no_id() {
    let supervisor = Supervisor::start_with(&[("SANDBOX_HEARTBEAT", "20ms")]);
    start(&supervisor, "echo one; sleep 0.2; echo two").await;
    let mut follower = Follower::open(&supervisor, "", None).await;
    let events = follower.rest().await;
    assert_eq!(text(&events), "one\ntwo\n");
    assert!(follower.comments >= 2);
}

#[tokio::test]
async fn a_gap_is_told_to_the_byte() {
    let supervisor = Supervisor::start();
    let body = json!({
        "command": "for i in $(seq 3000); do echo line $i; done",
        "id": "p", "limits": {"logBytes": 4096},
    });
    supervisor.post("/processes", &body).await;
    ended(&supervisor, "p").await;
    let written: u64 = (1..=3000).map(|i| format!("line {i}\n").len() as u64).sum();
    let events = Follower::open(&supervisor, "", None).await.rest().await;
    assert_eq!(events[0].data["type"], "truncated");
    let gone = events[0].data["bytes"].as_u64().unwrap();
    let kept = text(&events[1..]);
    assert_eq!(gone + kept.len() as u64, written);
    assert!(kept.ends_with("line 3000\n") && kept.len() <= 4096);
    // From the gap on it is not told again.
    let again = Follower::open(&supervisor, "", Some(&events[0].id))
        .await
        .rest()
        .await;
    assert_eq!(again, events[1..]);
}

#[tokio::test]
async fn a_descendant_that_keeps_the_pipe_delays_the_exit_by_a_second_at_most() {
    let supervisor = Supervisor::start();
    start(&supervisor, "setsid sleep 1000 & echo done").await;
    let begun = std::time::Instant::now();
    let events = Follower::open(&supervisor, "", None).await.rest().await;
    assert_eq!(text(&events), "done\n");
    assert_eq!(events.last().unwrap().data["type"], "exit");
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn bytes_of_any_kind_pass_unchanged() {
    let supervisor = Supervisor::start();
    let noise: Vec<u8> = (0..2_000_000_u32)
        .map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0])
        .collect();
    let file = supervisor.workspace().join("noise");
    std::fs::write(&file, &noise).unwrap();
    start(&supervisor, &format!("cat {}", file.display())).await;
    ended(&supervisor, "p").await;
    assert!(accept(&supervisor, "text/plain", "").await.body == noise);
}

#[tokio::test]
async fn the_end_of_the_supervisor_is_the_true_last_event_of_every_stream() {
    let mut supervisor = Supervisor::start();
    start(
        &supervisor,
        "trap 'echo bye; exit 7' TERM; echo up; sleep 1000 & wait",
    )
    .await;
    let mut follower = Follower::open(&supervisor, "", None).await;
    follower.next().await.unwrap();
    let stopped = tokio::task::spawn_blocking(move || supervisor.terminate().success());
    let rest = follower.rest().await;
    assert_eq!(text(&rest), "bye\n");
    assert_eq!(rest.last().unwrap().data["type"], "exit");
    assert!(stopped.await.unwrap());
}

#[tokio::test]
async fn a_supervisor_that_is_killed_tells_no_exit() {
    let supervisor = Supervisor::start();
    start(&supervisor, "echo up; exec sleep 1000").await;
    let mut follower = Follower::open(&supervisor, "", None).await;
    follower.next().await.unwrap();
    drop(supervisor);
    let frame = tokio::time::timeout(LIMIT, follower.answer.frame())
        .await
        .unwrap();
    assert!(!matches!(frame, Some(Ok(_))), "{frame:?}");
}

#[tokio::test]
async fn kept_pieces_are_the_log_and_say_where_they_lie() {
    let supervisor = Supervisor::start();
    start(&supervisor, "echo out; echo err >&2").await;
    ended(&supervisor, "p").await;
    let piece = supervisor.get("/processes/p/kept").await;
    assert_eq!(piece.status, 200);
    let cursor = |name| piece.headers[name].to_str().unwrap().to_owned();
    assert!(cursor("kept-from").ends_with(".0.0.0"));
    assert_eq!(cursor("kept-to"), cursor("kept-end"));
    assert!(cursor("kept-end").ends_with(".4.4.1"));
    let path = format!("/processes/p/kept?since={}", cursor("kept-end"));
    let empty = supervisor.get(&path).await;
    assert_eq!(empty.headers["kept-from"], empty.headers["kept-end"]);
    let bad = supervisor.get("/processes/p/kept?newest=some").await;
    assert_eq!(bad.code(), (400, "VALIDATION_FAILED".to_owned()));
    assert_eq!(bad.json()["context"]["field"], "newest");
}

/// What a client has of one stream, over all its connections: bytes, and `None` for each that it was told gone.
async fn resumed(supervisor: &Supervisor, stream: &str, mut seed: usize) -> Vec<Option<u8>> {
    let mut got = Vec::new();
    let mut last: Option<String> = None;
    loop {
        let query = format!("&stream={stream}");
        let mut follower = Follower::open(supervisor, &query, last.as_deref()).await;
        // As often as not in the middle of what came in one piece.
        seed = (seed * 75 + 74) % 65_537;
        for _ in 0..=seed % 7 {
            let event = follower.next().await.expect("an exit comes last");
            last = Some(event.id);
            let data = event.data["data"].as_str().unwrap();
            match event.data["type"].as_str().unwrap() {
                "exit" => return got,
                "truncated" => {
                    let gone = event.data["bytes"].as_u64().unwrap();
                    got.extend(std::iter::repeat_n(None, usize::try_from(gone).unwrap()));
                }
                of => {
                    assert_eq!(of, stream);
                    let bytes = match event.data.get("encoding") {
                        Some(_) => STANDARD.decode(data).unwrap(),
                        None => data.as_bytes().to_vec(),
                    };
                    got.extend(bytes.into_iter().map(Some));
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_is_cut_again_and_again_has_every_byte_once_or_knows_it_gone() {
    let supervisor = Supervisor::start();
    let writes = "RANDOM=7; for i in $(seq 80); do \
        head -c $((RANDOM % 9000)) /dev/urandom | tee -a out; \
        head -c $((RANDOM % 9000)) /dev/urandom | tee -a err >&2; done";
    for (cap, whole) in [(100_000, false), (10_000_000, true)] {
        for file in ["out", "err"] {
            fs::write(supervisor.workspace().join(file), "").unwrap();
        }
        let body = json!({"command": writes, "id": "p", "limits": {"logBytes": cap}});
        assert_eq!(supervisor.post("/processes", &body).await.status, 201);
        let (stdout, stderr) = tokio::join!(
            resumed(&supervisor, "stdout", 1),
            resumed(&supervisor, "stderr", 2)
        );
        // Who comes when all is over has a gap for sure, where the cap is small.
        let late = resumed(&supervisor, "stdout", 3).await;
        assert_eq!(late.iter().all(Option::is_some), whole);
        for (got, file) in [(stdout, "out"), (stderr, "err"), (late, "out")] {
            let written = fs::read(supervisor.workspace().join(file)).unwrap();
            assert_eq!(got.len(), written.len(), "{file}, {cap}");
            let same = got.iter().zip(&written);
            let mut same = same.map(|(got, wrote)| got.is_none_or(|got| got == *wrote));
            assert!(same.all(|same| same), "{file}, {cap}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_does_not_read_holds_up_neither_the_process_nor_199_others() {
    const BYTES: usize = 2_000_000;
    let supervisor = Supervisor::start_with(&[("SANDBOX_LOG_MEMORY", "1048576")]);
    let command = format!("read; head -c {BYTES} /dev/zero | tr '\\0' x");
    let body = json!({"command": command, "id": "p", "stdin": "pipe"});
    assert_eq!(supervisor.post("/processes", &body).await.status, 201);
    let follow = async || {
        let request = request(Method::GET, "/processes/p/logs?follow=true")
            .header("accept", "text/plain")
            .body(Empty::<Bytes>::new())
            .unwrap();
        supervisor.send(request).await
    };
    let stuck = follow().await;
    let mut readers = JoinSet::new();
    for _ in 1..200 {
        readers.spawn(Answer::read(follow().await));
    }
    let before = supervisor.peak_memory();
    let go = supervisor.send_bytes(Method::POST, "/processes/p/stdin", "\n");
    assert_eq!(go.await.status, 200);
    assert_eq!(ended(&supervisor, "p").await["exitCode"], 0);
    while let Some(answer) = readers.join_next().await {
        assert_eq!(answer.unwrap().body.len(), BYTES);
    }
    // A frame for each and what it is made from, and not the two megabytes that each has to come.
    let grown = supervisor.peak_memory() - before;
    assert!(grown < 200 * (512 << 10), "{grown} bytes more");
    assert_eq!(Answer::read(stuck).await.body.len(), BYTES);
}
