//! `GET /pty`: a terminal over WebSocket.

use std::pin::pin;
use std::time::Duration;

use axum::Extension;
use axum::Router;
use axum::extract::State as Shared;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use sandbox_protocol::error::{ErrorBody, ErrorCode};
use sandbox_protocol::kept::Kind;
use sandbox_protocol::process::ExitReason;
use sandbox_protocol::terminal::{TerminalEvent, TerminalQuery, TerminalRequest, TerminalSpec};
use tokio::time::{Instant, interval_at};

use super::State;
use super::query::Query;
use crate::activity::Open;
use crate::error::Error;
use crate::logs::{Batch, Step};
use crate::process::{Client, Exit};

/// How large a message is at most, in bytes, both ways.
const MESSAGE_BYTES: usize = 64 << 10;

type Sink = SplitSink<WebSocket, Message>;

/// The other side is gone.
struct Gone;

impl From<axum::Error> for Gone {
    fn from(_: axum::Error) -> Self {
        Self
    }
}

pub(super) fn routes() -> Router<State> {
    Router::new().route("/pty", get(open))
}

async fn open(
    Shared(state): Shared<State>,
    Query(query): Query<TerminalQuery>,
    Extension(call): Extension<Open>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Error> {
    let Ok(upgrade) = upgrade else {
        return Ok(upgrade_required());
    };
    let spec = query.validate()?;
    let upgrade = upgrade.max_message_size(MESSAGE_BYTES);
    Ok(upgrade.on_upgrade(async move |socket| {
        serve(state, spec, socket).await;
        // The call has lasted as long as its socket.
        drop(call);
    }))
}

fn upgrade_required() -> Response {
    let error = ErrorBody::new(
        ErrorCode::UpgradeRequired,
        "a terminal speaks WebSocket only",
    );
    let mut answer = Error::from(error).into_response();
    let websocket = HeaderValue::from_static("websocket");
    answer.headers_mut().insert(header::UPGRADE, websocket);
    answer
}

/// Answers one client until one of the two sides is gone.
async fn serve(state: State, spec: TerminalSpec, socket: WebSocket) {
    let (mut sink, source) = socket.split();
    let joined = match state.table.terminal(&spec).await {
        Ok(process) => process.join(spec.size),
        Err(error) => Err(error),
    };
    let client = match joined {
        Ok(client) => client,
        Err(error) => {
            // One who is gone already does not want to know.
            let _ = refuse(&mut sink, &error).await;
            return;
        }
    };
    let heartbeat = state.config.heartbeat;
    {
        let shown = pin!(show(&client, &mut sink, heartbeat));
        let typed = pin!(take(&client, source));
        tokio::select! {
            _ = shown => {}
            () = typed => {}
        }
    }
    drop(sink);
    client.leave().await;
}

async fn refuse(sink: &mut Sink, error: &Error) -> Result<(), Gone> {
    let body = error.body();
    let event = TerminalEvent::Error {
        message: body.error.clone(),
        error: Some(body),
    };
    tell(sink, &event).await?;
    Ok(sink.send(Message::Close(None)).await?)
}

/// Shows what was shown, then what is shown, to the end.
async fn show(client: &Client, sink: &mut Sink, heartbeat: Duration) -> Result<(), Gone> {
    let process = client.process();
    let mut screen = match client.screen().await {
        Ok(screen) => screen,
        Err(error) => return refuse(sink, &error).await,
    };
    // What is there now is the replay; all later output comes after `ready`.
    let end = process.ledger().end().position.sequence();
    while screen.cursor().position.sequence() < end {
        match screen.step().await {
            Step::Entries(batch) => draw(sink, &batch).await?,
            Step::Gap(_) => {}
            Step::Idle | Step::Ended => break,
        }
    }
    let process_id = process.id().to_owned();
    tell(sink, &TerminalEvent::Ready { process_id }).await?;
    let mut beats = interval_at(Instant::now() + heartbeat, heartbeat);
    loop {
        match screen.step().await {
            Step::Entries(batch) => draw(sink, &batch).await?,
            // Nothing can be told of it in the middle of a screen.
            Step::Gap(_) => {}
            Step::Ended => break,
            Step::Idle => tokio::select! {
                () = screen.more() => {}
                _ = beats.tick() => sink.send(Message::Ping(Bytes::new())).await?,
            },
        }
    }
    tell(sink, &ending(process.exited().await)).await?;
    Ok(sink.send(Message::Close(None)).await?)
}

async fn draw(sink: &mut Sink, batch: &Batch) -> Result<(), Gone> {
    let mut shown = Vec::new();
    for entry in batch.entries() {
        if let Kind::Output(_) = entry.kind {
            shown.extend_from_slice(entry.bytes);
        }
    }
    let mut shown = Bytes::from(shown);
    while !shown.is_empty() {
        let message = shown.split_to(MESSAGE_BYTES.min(shown.len()));
        sink.send(Message::Binary(message)).await?;
    }
    Ok(())
}

fn ending(exit: Exit) -> TerminalEvent {
    let signalled = exit.signal.map(|signal| 128 + signal.number());
    match exit.exit_code.or(signalled) {
        Some(code) => TerminalEvent::Exit { code },
        None => TerminalEvent::Error {
            message: match exit.reason {
                ExitReason::ContainerStopped => "the container was stopped".to_owned(),
                _ => "nobody saw how the shell ended".to_owned(),
            },
            error: None,
        },
    }
}

async fn tell(sink: &mut Sink, event: &TerminalEvent) -> Result<(), Gone> {
    let json = serde_json::to_string(event).expect("an event is plain data");
    Ok(sink.send(Message::text(json)).await?)
}

/// Types what the client types, until it is gone. What it says that we do not know is ignored.
async fn take(client: &Client, mut source: SplitStream<WebSocket>) {
    while let Some(Ok(message)) = source.next().await {
        match message {
            Message::Binary(typed) => {
                // Where nobody reads any more the end is about to be told.
                let _ = client.process().write_stdin(&typed).await;
            }
            Message::Text(text) => {
                let request = serde_json::from_str(&text);
                if let Ok(TerminalRequest::Resize(size)) = request
                    && size.is_valid()
                {
                    client.resize(size);
                }
            }
            Message::Close(_) => return,
            Message::Ping(_) | Message::Pong(_) => {}
        }
    }
}
