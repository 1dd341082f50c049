//! Terminals: what is typed, what is shown, sizes, job control, sessions, and how they end.

use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use hyper::Method;
use serde_json::{Value, json};
use tokio::net::UnixStream;
use tokio::time::timeout_at;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::harness::{Supervisor, eventually, is_alive, request};
use crate::proc::{alone, executing};

/// How long anything may be in coming.
const LIMIT: Duration = Duration::from_secs(8);

struct Terminal(WebSocketStream<UnixStream>);

impl Terminal {
    async fn open(supervisor: &Supervisor, query: &str) -> Self {
        let call = request(Method::GET, &format!("ws://supervisor/pty?{query}"))
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
        let stream = UnixStream::connect(supervisor.socket()).await.unwrap();
        let opened = tokio_tungstenite::client_async(call.body(()).unwrap(), stream).await;
        match opened {
            Ok((socket, _)) => Self(socket),
            Err(Error::Http(answer)) => panic!("{:?}", answer.body()),
            Err(error) => panic!("{error}"),
        }
    }

    /// A terminal that is ready, and the name of its process.
    async fn ready(supervisor: &Supervisor, query: &str) -> (Self, String) {
        // What this machine's user has a shell do at its start is slow, and none of it may be killed halfway.
        let home = json!({"HOME": supervisor.workspace()});
        assert_eq!(supervisor.put("/environment", &home).await.status, 200);
        let mut terminal = Self::open(supervisor, query).await;
        let (_, ready) = terminal.event().await;
        assert_eq!(ready["type"], "ready", "{ready}");
        let id = ready["processId"].as_str().unwrap().to_owned();
        (terminal, id)
    }

    async fn enter(&mut self, line: &str) {
        let typed = Message::binary(format!("{line}\n").into_bytes());
        self.0.send(typed).await.unwrap();
    }

    /// The next message before `deadline` that is not the protocol's own.
    async fn next(&mut self, deadline: Instant) -> Option<Message> {
        loop {
            let next = timeout_at(deadline.into(), self.0.next()).await.ok()?;
            match next.expect("it is open").unwrap() {
                Message::Ping(_) | Message::Pong(_) => {}
                message => return Some(message),
            }
        }
    }

    /// Reads until `text` is shown.
    async fn until(&mut self, text: &str) -> String {
        let (mut shown, deadline) = (String::new(), Instant::now() + LIMIT);
        while !shown.contains(text) {
            match self.next(deadline).await {
                Some(Message::Binary(bytes)) => shown += &String::from_utf8_lossy(&bytes),
                other => panic!("{other:?} before {text:?}; so far {shown:?}"),
            }
        }
        shown
    }

    /// The next text message, and what is shown before.
    async fn event(&mut self) -> (String, Value) {
        let (mut shown, deadline) = (String::new(), Instant::now() + LIMIT);
        loop {
            match self.next(deadline).await {
                Some(Message::Binary(bytes)) => shown += &String::from_utf8_lossy(&bytes),
                Some(Message::Text(text)) => return (shown, serde_json::from_str(&text).unwrap()),
                other => panic!("{other:?} before an event; so far {shown:?}"),
            }
        }
    }
}

async fn pid_of(supervisor: &Supervisor, id: &str) -> u32 {
    let process = supervisor.get(&format!("/processes/{id}")).await.json();
    u32::try_from(process["pid"].as_u64().unwrap()).unwrap()
}

#[tokio::test]
async fn what_is_typed_runs_and_the_exit_comes_after_all_that_is_shown() {
    let supervisor = Supervisor::start();
    let (mut terminal, id) = Terminal::ready(&supervisor, "shell=bash&cols=91&rows=33").await;
    terminal.enter("stty size; tty; echo $TERM; exit 3").await;
    let (shown, event) = terminal.event().await;
    assert_eq!(event, json!({"type": "exit", "code": 3}), "{shown}");
    assert!(shown.contains("33 91\r\n"), "{shown}");
    assert!(shown.contains("/dev/pts/"), "{shown}");
    assert!(shown.contains("xterm-256color"), "{shown}");
    assert!(matches!(
        terminal.next(Instant::now() + LIMIT).await,
        Some(Message::Close(_))
    ));
    let process = supervisor.get(&format!("/processes/{id}")).await.json();
    assert_eq!(
        (&process["status"], &process["exitCode"]),
        (&json!("failed"), &json!(3))
    );
}

#[tokio::test]
async fn a_resize_reaches_the_shell_and_what_is_unknown_is_ignored() {
    let supervisor = Supervisor::start();
    let (mut terminal, _) = Terminal::ready(&supervisor, "unknown=1").await;
    for text in [
        "{",
        r#"{"type":"nope"}"#,
        r#"{"type":"resize","cols":0,"rows":1}"#,
        r#"{"type":"resize","cols":132,"rows":50}"#,
    ] {
        terminal.0.send(Message::text(text)).await.unwrap();
    }
    terminal.enter("stty size").await;
    terminal.until("50 132").await;
}

#[tokio::test]
async fn a_key_interrupts_what_runs_in_front_and_leaves_what_runs_behind() {
    let supervisor = Supervisor::start();
    let (mut terminal, _) = Terminal::ready(&supervisor, "").await;
    // What is typed is shown too, so what is waited for is what the shell makes of it.
    terminal.enter("sleep 1001 & echo pid-$((1+1)):$!.").await;
    let mut shown = terminal.until("pid-2:").await;
    while !shown.rsplit("pid-2:").next().unwrap().contains('.') {
        shown += &terminal.until(".").await;
    }
    let behind = shown.rsplit("pid-2:").next().unwrap();
    let behind: u32 = behind.split('.').next().unwrap().parse().unwrap();
    // The job in front says so itself: before it is in front, the key would be the shell's.
    let front = "bash -c 'echo front-$((3+3)); exec sleep 1002'";
    terminal.enter(front).await;
    terminal.until("front-6").await;
    terminal.0.send(Message::binary(vec![3])).await.unwrap();
    terminal.enter("echo status-$((4+4)):$?.").await;
    terminal.until("status-8:130.").await;
    assert!(is_alive(behind));
    terminal.enter("kill %1; wait; echo done-$((5+5))").await;
    terminal.until("done-10").await;
    assert!(!is_alive(behind));
}

#[tokio::test]
async fn a_terminal_is_in_the_list_and_is_killed_with_its_jobs_at_once() {
    let supervisor = Supervisor::start();
    let (mut terminal, id) = Terminal::ready(&supervisor, "").await;
    terminal.enter("sleep 1003 & echo job=$!.").await;
    terminal.until("job=").await;
    let listed = supervisor.get("/processes?status=running").await.json();
    assert_eq!(listed["processes"][0]["id"], id.as_str());
    let begun = Instant::now();
    let kill = supervisor
        .post(&format!("/processes/{id}/kill"), &json!({}))
        .await;
    let receipt = kill.json();
    assert_eq!(kill.status, 200, "{receipt}");
    assert_eq!(receipt["process"]["status"], "killed", "{receipt}");
    assert!(begun.elapsed() < Duration::from_secs(4), "no grace passed");
    let (_, event) = terminal.event().await;
    assert_eq!(event["type"], "exit", "{event}");
}

/// Those in a receipt whose command is one of `commands`, each as often as it is there.
fn named(list: &Value, commands: &[&str]) -> Vec<String> {
    let members = list.as_array().unwrap().iter();
    let mut named: Vec<_> = members
        .map(|member| member["command"].as_str().unwrap().to_owned())
        .filter(|command| commands.contains(&command.as_str()))
        .collect();
    named.sort();
    named
}

#[tokio::test]
async fn a_shell_is_killed_with_its_jobs_whether_they_run_behind_or_are_stopped() {
    let supervisor = Supervisor::start();
    let (mut terminal, id) = Terminal::ready(&supervisor, "").await;
    let jobs = ["sleep 1005", "sleep 1006", "sleep 1007"];
    terminal
        .enter("sleep 1005 & (setsid sleep 1006 &); sleep 1007")
        .await;
    executing(&supervisor, &jobs).await;
    // Ctrl-Z.
    terminal.0.send(Message::binary(vec![26])).await.unwrap();
    terminal.until("Stopped").await;
    let path = format!("/processes/{id}/kill");
    let receipt = supervisor.post(&path, &json!({})).await.json();
    assert_eq!(receipt["survivors"], json!([]), "{receipt}");
    assert_eq!(named(&receipt["signalled"], &jobs), jobs, "{receipt}");
    assert_eq!(receipt["killed"], json!([]), "each heard a signal");
    alone(&supervisor).await;
}

#[tokio::test]
async fn jobs_that_a_shell_left_when_it_exited_are_killed_by_its_name() {
    let supervisor = Supervisor::start();
    let (mut terminal, id) = Terminal::ready(&supervisor, "").await;
    let jobs = ["sleep 1008", "sleep 1009"];
    terminal
        .enter("sleep 1008 & trap '' HUP; sleep 1009 & kill -STOP $!")
        .await;
    executing(&supervisor, &jobs[..1]).await;
    terminal.enter("disown -a; exit 5").await;
    let (_, event) = terminal.event().await;
    assert_eq!(event, json!({"type": "exit", "code": 5}));
    let path = format!("/processes/{id}/kill");
    let receipt = supervisor.post(&path, &json!({})).await.json();
    assert_eq!(receipt["survivors"], json!([]), "{receipt}");
    assert_eq!(receipt["process"]["exitCode"], 5, "{receipt}");
    assert_eq!(receipt["process"]["descendants"], 0, "{receipt}");
    alone(&supervisor).await;
}

#[tokio::test]
async fn a_named_terminal_outlives_its_socket_and_shows_again_what_it_showed() {
    let supervisor = Supervisor::start();
    let (mut terminal, id) = Terminal::ready(&supervisor, "session=desk").await;
    assert_eq!(id, "desk");
    terminal.enter("x=kept; echo first-$((20+1))").await;
    terminal.until("first-21").await;
    let pid = pid_of(&supervisor, "desk").await;
    drop(terminal);
    let mut again = Terminal::open(&supervisor, "session=desk").await;
    let (replay, event) = again.event().await;
    assert!(replay.contains("first-21"), "{replay}");
    assert_eq!(event, json!({"type": "ready", "processId": "desk"}));
    assert_eq!(pid_of(&supervisor, "desk").await, pid);
    again.enter("echo $x-$((20+2))").await;
    again.until("kept-22").await;
}

#[tokio::test]
async fn two_clients_share_a_named_terminal() {
    let supervisor = Supervisor::start();
    let (mut one, _) = Terminal::ready(&supervisor, "session=both").await;
    let (mut two, _) = Terminal::ready(&supervisor, "session=both").await;
    one.enter("echo shared-$((20+3))").await;
    one.until("shared-23").await;
    two.until("shared-23").await;
}

#[tokio::test]
async fn a_replay_is_no_longer_than_a_screenful_of_history() {
    let supervisor = Supervisor::start();
    let (mut terminal, _) = Terminal::ready(&supervisor, "session=long").await;
    terminal.enter("seq 1 200000; echo over-$((20+4))").await;
    terminal.until("over-24").await;
    let mut again = Terminal::open(&supervisor, "session=long").await;
    let (replay, _) = again.event().await;
    assert!(replay.contains("199999\r\n") && replay.contains("over-24"));
    assert!(replay.len() <= 256 << 10, "{}", replay.len());
    assert!(replay.len() > 200 << 10, "{}", replay.len());
}

#[tokio::test]
async fn a_terminal_without_a_name_ends_ten_seconds_after_its_socket() {
    let supervisor = Supervisor::start();
    let (terminal, id) = Terminal::ready(&supervisor, "").await;
    let pid = pid_of(&supervisor, &id).await;
    drop(terminal);
    // Whoever comes back in time finds it.
    let (terminal, same) = Terminal::ready(&supervisor, &format!("session={id}")).await;
    assert_eq!(same, id);
    drop(terminal);
    let begun = Instant::now();
    let wait = json!({"exit": true, "timeoutMs": 20000});
    let ended = supervisor
        .post(&format!("/processes/{id}/wait"), &wait)
        .await;
    assert_eq!(ended.status, 200, "{:?}", ended.json());
    assert!(begun.elapsed() > Duration::from_secs(9));
    eventually("the shell is gone", || !is_alive(pid)).await;
}

#[tokio::test]
async fn what_cannot_be_a_terminal_is_told() {
    let supervisor = Supervisor::start();
    let plain = supervisor.get("/pty").await;
    assert_eq!(plain.code(), (426, "UPGRADE_REQUIRED".to_owned()));
    assert_eq!(plain.headers["upgrade"], "websocket");
    let mut none = Terminal::open(&supervisor, "shell=no-such-shell").await;
    let (_, event) = none.event().await;
    assert_eq!(
        (&event["type"], &event["error"]["code"]),
        (&json!("error"), &json!("INVALID_COMMAND")),
        "{event}"
    );
    let process = json!({"command": "sleep 1004", "id": "plain"});
    assert_eq!(supervisor.post("/processes", &process).await.status, 201);
    let mut taken = Terminal::open(&supervisor, "session=plain").await;
    let (_, event) = taken.event().await;
    assert_eq!(event["error"]["code"], "PROCESS_ALREADY_EXISTS", "{event}");
    let listed = supervisor.get("/processes").await.json();
    assert_eq!(listed["processes"].as_array().unwrap().len(), 1);
}
