//! `POST /exec`: one command, its output streamed as it comes, or collected.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::extract::State as Shared;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body::Frame;
use sandbox_protocol::error::{ErrorBody, ErrorCode};
use sandbox_protocol::exec::{ExecError, ExecExit, ExecRequest, ExecResult};
use sandbox_protocol::log::{Format, Stream};
use sandbox_protocol::process::Member;

use super::{Body, State};
use crate::error::Error;
use crate::logs;
use crate::process::{Execution, Happening};

/// How much of each stream the JSON answer holds, in bytes.
const COLLECTED_BYTES: usize = 16 << 20;

pub(super) fn routes() -> Router<State> {
    Router::new().route("/exec", post(execute))
}

async fn execute(
    Shared(state): Shared<State>,
    headers: HeaderMap,
    Body(request): Body<ExecRequest>,
) -> Result<Response, Error> {
    let spec = request.validate()?;
    let command = spec.command.display();
    let accept = headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok());
    let timestamp = logs::now();
    let execution = state.table.run_once(spec).await?;
    // The bridge's client names no type, or several; whoever wants JSON says so.
    if Format::negotiate(accept, Format::EventStream) != Format::Json {
        return Ok(stream(execution));
    }
    let mut collected = Collected::default();
    let (exit_code, timed_out, ran) = collected.read(execution).await?;
    Ok(Json(ExecResult {
        success: exit_code == 0,
        exit_code,
        stdout: String::from_utf8_lossy(&collected.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&collected.stderr).into_owned(),
        command,
        duration: u64::try_from(ran.as_millis()).unwrap_or(u64::MAX),
        timestamp,
        timed_out,
        truncated: collected.truncated,
    })
    .into_response())
}

/// What a command printed, up to a bound.
#[derive(Default)]
struct Collected {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    truncated: bool,
}

impl Collected {
    /// Reads to the end; what is beyond the bound is read and dropped, so that the command goes on.
    async fn read(
        &mut self,
        mut execution: Execution,
    ) -> Result<(i32, bool, std::time::Duration), Error> {
        loop {
            match execution.next().await {
                Some(Happening::Output(stream, bytes)) => self.keep(stream, &bytes),
                Some(Happening::Exit {
                    exit_code,
                    timed_out,
                    ran,
                }) => return Ok((exit_code, timed_out, ran)),
                Some(Happening::Survived(members)) => return Err(survived(members).into()),
                Some(Happening::Lost) | None => return Err(lost().into()),
            }
        }
    }

    fn keep(&mut self, stream: Stream, bytes: &[u8]) {
        let kept = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        let room = bytes.len().min(COLLECTED_BYTES - kept.len());
        self.truncated |= room < bytes.len();
        kept.extend_from_slice(&bytes[..room]);
    }
}

fn lost() -> ErrorBody {
    ErrorBody::new(ErrorCode::InternalError, "nobody saw how the command ended")
}

fn survived(members: Vec<Member>) -> ErrorBody {
    ErrorBody::new(
        ErrorCode::KillIncomplete,
        "processes of the command live on 10 s after SIGKILL",
    )
    .with(|context| context.survivors = Some(members))
}

/// The answer of the bridge: what happens, as it happens.
fn stream(execution: Execution) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, axum::body::Body::new(Events(execution))).into_response()
}

/// The body: dropped with its connection, it drops the execution, which ends the command.
struct Events(Execution);

impl http_body::Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0
            .poll_next(context)
            .map(|happening| Some(Ok(Frame::data(event(happening?).into()))))
    }
}

/// One event of the bridge: no id, base64 for output.
fn event(happening: Happening) -> String {
    match happening {
        Happening::Output(stream, bytes) => {
            let name = match stream {
                Stream::Stdout => "stdout",
                Stream::Stderr => "stderr",
            };
            frame(name, &STANDARD.encode(bytes))
        }
        Happening::Exit { exit_code, .. } => {
            let exit = serde_json::to_string(&ExecExit { exit_code });
            frame("exit", &exit.expect("a number is plain data"))
        }
        Happening::Lost => failure(&lost()),
        Happening::Survived(members) => failure(&survived(members)),
    }
}

fn failure(error: &ErrorBody) -> String {
    let said = serde_json::to_string(&ExecError {
        error: error.error.clone(),
        code: error.code,
    });
    frame("error", &said.expect("an error is plain data"))
}

fn frame(name: &str, data: &str) -> String {
    format!("event: {name}\ndata: {data}\n\n")
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use sandbox_protocol::log::Stream;

    use super::{COLLECTED_BYTES, Collected, event};
    use crate::process::Happening;

    #[test]
    fn output_is_base64_and_the_exit_is_a_number() {
        let output = Happening::Output(Stream::Stderr, Bytes::from_static(b"hi\n"));
        assert_eq!(event(output), "event: stderr\ndata: aGkK\n\n");
        let exit = Happening::Exit {
            exit_code: 137,
            timed_out: false,
            ran: std::time::Duration::ZERO,
        };
        assert_eq!(event(exit), "event: exit\ndata: {\"exit_code\":137}\n\n");
    }

    #[test]
    fn what_is_beyond_the_bound_is_dropped_and_told() {
        let mut collected = Collected::default();
        collected.keep(Stream::Stdout, &vec![0; COLLECTED_BYTES]);
        assert!(!collected.truncated);
        collected.keep(Stream::Stdout, b"x");
        collected.keep(Stream::Stderr, b"y");
        assert!(collected.truncated);
        assert_eq!(
            (collected.stdout.len(), collected.stderr.len()),
            (COLLECTED_BYTES, 1)
        );
    }
}
