//! A terminal through Worker, object and supervisor, and the tickets that open one.

use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::harness::{Dev, Setup};

#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn a_terminal_is_typed_into_resized_joined_again_and_exits() {
    let dev = Dev::shared();
    let sandbox = dev.sandbox();
    // On the local engine the shell would read what the machine's user has in its home, which may take its time.
    let home = json!({"env": {"HOME": "/workspace"}});
    assert_eq!(sandbox.patch("").json(&home).send().await.status(), 200);
    let path = sandbox.path("pty?cols=91&rows=33&session=desk");
    let mut terminal = dev.socket(&path).await.expect("it opens");
    let (_, ready) = terminal.event().await;
    assert_eq!(ready, json!({"type": "ready", "processId": "desk"}));
    // What is typed is shown too, so what is waited for is what the shell makes of it.
    terminal.send_bytes("stty size; echo here-$((1+1))\n").await;
    assert!(terminal.until("here-2").await.contains("33 91"));
    let resize = r#"{"type":"resize","cols":132,"rows":50}"#;
    terminal.send(Message::text(resize)).await;
    terminal.send_bytes("stty size\n").await;
    terminal.until("50 132").await;
    drop(terminal);
    let mut terminal = dev.socket(&path).await.expect("it opens again");
    let (replay, ready) = terminal.event().await;
    assert!(replay.contains("here-2"), "{replay}");
    assert_eq!(ready["type"], "ready");
    let listed = sandbox.get("processes").send().await.json().await;
    assert_eq!(listed["processes"][0]["status"], "running", "{listed}");
    terminal.send_bytes("exit 3\n").await;
    let (_, exit) = terminal.event().await;
    assert_eq!(exit, json!({"type": "exit", "code": 3}));
    assert_eq!(terminal.next().await, None);
    assert_eq!(sandbox.delete("").send().await.status(), 204);
}

#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn a_terminal_without_websocket_is_426_and_starts_nothing() {
    let sandbox = Dev::shared().sandbox();
    let answer = sandbox.get("pty").send().await;
    assert_eq!(answer.status(), 426);
    assert_eq!(answer.json().await["code"], "UPGRADE_REQUIRED");
    assert_eq!(sandbox.remains(), Vec::<String>::new());
}

#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn a_ticket_opens_a_terminal_where_no_key_can_be_sent() {
    let dev = Dev::start(&Setup {
        vars: &[("SANDBOX_ANONYMOUS", "false"), ("SANDBOX_API_KEY", "k")],
        ..Setup::DEFAULT
    });
    let sandbox = dev.sandbox();
    assert_eq!(dev.socket(&sandbox.path("pty")).await.err(), Some(401));
    let tickets = sandbox.post("tickets").header("Authorization", "Bearer k");
    let ticket = tickets.send().await.json().await;
    let ticket = ticket["ticket"].as_str().expect("a ticket").to_owned();
    let path = sandbox.path(&format!("pty?ticket={ticket}"));
    let mut terminal = dev.socket(&path).await.expect("it opens");
    assert_eq!(terminal.event().await.1["type"], "ready");
    let port = sandbox.path(&format!("ports/18445/?ticket={ticket}"));
    assert_eq!(
        dev.get(&port).send().await.status(),
        401,
        "one stream alone"
    );
    let delete = sandbox.delete("").header("Authorization", "Bearer k");
    assert_eq!(delete.send().await.status(), 204);
}
