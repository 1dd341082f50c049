//! Streams of typed events, which go on by themselves after a cut.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use futures::stream::LocalBoxStream;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use sandbox_protocol::log::LogEvent;
use serde::Deserialize;
use worker::{ByteStream, Headers, Method, Response};

use super::Error;
use super::calls::Calls;
use crate::platform::sleep;

/// How often in a row a cut stream is asked for again.
const TRIES: u32 = 6;

/// The pause before the first of them, in milliseconds; it doubles each time.
const PAUSE_MS: u64 = 250;

/// The events of a log, to its `exit` (of a process) or `build` (of a build). Dropping it hangs up.
pub struct Events(LocalBoxStream<'static, Result<LogEvent<'static>, Error>>);

impl Stream for Events {
    type Item = Result<LogEvent<'static>, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_next_unpin(context)
    }
}

impl Events {
    /// Follows the log at `path`.
    pub(super) async fn open(calls: &Rc<Calls>, path: String) -> Result<Self, Error> {
        let is_build = path.starts_with("/builds/");
        let mut reader = Reader::new(calls, path, is_build);
        reader.chunks = reader.ask().await?;
        Ok(Self::of(reader))
    }

    /// Goes on with an answer that streams the log that is also at `path`.
    pub(super) fn of_answer(
        calls: &Rc<Calls>,
        path: String,
        mut answer: Response,
    ) -> Result<Self, Error> {
        let mut reader = Reader::new(calls, path, true);
        reader.chunks = Some(answer.stream()?);
        Ok(Self::of(reader))
    }

    fn of(reader: Reader) -> Self {
        let events = stream::try_unfold(reader, |mut reader| async move {
            let next = reader.next().await?;
            Ok(next.map(|event| (event, reader)))
        });
        Self(events.boxed_local())
    }
}

/// One line of NDJSON.
#[derive(Deserialize)]
struct Line {
    cursor: String,
    #[serde(flatten)]
    event: LogEvent<'static>,
}

struct Reader {
    calls: Rc<Calls>,
    path: String,
    is_build: bool,
    /// Behind the last event that was given out.
    cursor: Option<String>,
    chunks: Option<ByteStream>,
    /// What came of a line whose end has not come.
    rest: Vec<u8>,
    ended: bool,
}

impl Reader {
    fn new(calls: &Rc<Calls>, path: String, is_build: bool) -> Self {
        Self {
            calls: Rc::clone(calls),
            path,
            is_build,
            cursor: None,
            chunks: None,
            rest: Vec::new(),
            ended: false,
        }
    }

    /// Asks for what comes after the last event; `None` if nothing does.
    async fn ask(&mut self) -> Result<Option<ByteStream>, Error> {
        let headers = Headers::new();
        headers.set("Accept", "application/x-ndjson")?;
        if let Some(cursor) = &self.cursor {
            headers.set("Last-Event-ID", cursor)?;
        }
        let path = format!("{}?follow=true", self.path);
        let mut answer = self.calls.send(Method::Get, &path, headers, None).await?;
        self.rest.clear();
        if answer.status_code() == 204 {
            self.ended = true;
            return Ok(None);
        }
        Ok(Some(answer.stream()?))
    }

    async fn next(&mut self) -> Result<Option<LogEvent<'static>>, Error> {
        loop {
            if let Some(event) = self.buffered()? {
                self.ended = match event {
                    LogEvent::Build(_) => true,
                    LogEvent::Exit { .. } => !self.is_build,
                    _ => false,
                };
                return Ok(Some(event));
            }
            if self.ended {
                return Ok(None);
            }
            let chunk = match &mut self.chunks {
                Some(chunks) => chunks.try_next().await,
                None => Ok(None),
            };
            match chunk {
                Ok(Some(chunk)) => self.rest.extend(chunk),
                // An end without the last event is a cut, however orderly it looks.
                Ok(None) | Err(_) => self.chunks = self.again().await?,
            }
        }
    }

    /// The first whole line that has come. White space between events is a heartbeat.
    fn buffered(&mut self) -> Result<Option<LogEvent<'static>>, Error> {
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            if line.trim_ascii().is_empty() {
                continue;
            }
            let line: Line = serde_json::from_slice(&line).map_err(worker::Error::from)?;
            self.cursor = Some(line.cursor);
            return Ok(Some(line.event));
        }
        Ok(None)
    }

    async fn again(&mut self) -> Result<Option<ByteStream>, Error> {
        let mut pause_ms = PAUSE_MS;
        for _ in 0..TRIES {
            sleep(pause_ms).await;
            pause_ms *= 2;
            match self.ask().await {
                Ok(chunks) => return Ok(chunks),
                // It will not be otherwise the next time.
                Err(Error::Refused(body)) if body.code.status() < 500 => {
                    return Err(Error::Refused(body));
                }
                Err(_) => {}
            }
        }
        Err(Error::Cut(format!("{} did not answer again", self.path)))
    }
}
