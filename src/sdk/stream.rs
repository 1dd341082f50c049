//! Streams of typed events, which go on by themselves after a cut.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use futures::stream::LocalBoxStream;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use sandbox_protocol::log::LogEvent;
use worker::{ByteStream, Headers, Method, Response};

use super::Error;
use super::again::{LIMIT_MS, Patience};
use super::calls::Calls;
use super::lines::{Line, Lines};
use crate::platform::within;

/// The events of a log, to its `exit` (of a process) or `build` (of a build). Dropping it hangs up.
///
/// A stream that is cut, or silent for longer than any heartbeat, is asked for again after the last event: nothing
/// comes twice, nothing is missing. After a minute without an answer it gives up with [`Error::Cut`]. What will not
/// be otherwise the next time, such as a sandbox that was destroyed meanwhile, is told at once.
///
/// ```no_run
/// use futures::TryStreamExt;
/// use workers_sandbox::{Error, LogEvent, Process};
///
/// # async fn example(server: &Process) -> Result<(), Error> {
/// let mut logs = server.stream_logs().await?;
/// while let Some(event) = logs.try_next().await? {
///     match event {
///         LogEvent::Stdout(output) => worker::console_log!("{}", output.data),
///         LogEvent::Exit { exit_code, .. } => worker::console_log!("exit {exit_code:?}"),
///         _ => {}
///     }
/// }
/// # Ok(())
/// # }
/// ```
pub struct Events {
    path: String,
    lines: LocalBoxStream<'static, Result<Line, Error>>,
    cursor: Option<String>,
}

impl Stream for Events {
    type Item = Result<LogEvent<'static>, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = ready!(self.lines.poll_next_unpin(context));
        Poll::Ready(next.map(|line| {
            let line = line?;
            self.cursor = Some(line.cursor);
            Ok(line.event)
        }))
    }
}

impl Events {
    /// The process, or the build, whose log it is.
    #[must_use]
    pub fn id(&self) -> &str {
        self.path.split('/').nth(2).unwrap_or_default()
    }

    /// The cursor behind the last event: from there another stream can go on, in another request too. `None` before
    /// the first.
    #[must_use]
    pub fn cursor(&self) -> Option<&str> {
        self.cursor.as_deref()
    }

    /// Follows the log at `path` from behind `cursor`, or from its beginning.
    pub(super) async fn open(
        calls: &Rc<Calls>,
        path: String,
        cursor: Option<&str>,
    ) -> Result<Self, Error> {
        let mut reader = Reader::new(calls, path);
        reader.cursor = cursor.map(str::to_owned);
        reader.ask().await?;
        Ok(Self::of(reader))
    }

    /// Goes on with an answer that streams the log that is also at `path`.
    pub(super) fn of_answer(
        calls: &Rc<Calls>,
        path: String,
        mut answer: Response,
    ) -> Result<Self, Error> {
        let mut reader = Reader::new(calls, path);
        reader.chunks = Some(answer.stream()?);
        Ok(Self::of(reader))
    }

    fn of(reader: Reader) -> Self {
        let (path, cursor) = (reader.path.clone(), reader.cursor.clone());
        let lines = stream::try_unfold(reader, |mut reader| async move {
            let next = reader.next().await?;
            Ok(next.map(|line| (line, reader)))
        });
        Self {
            path,
            lines: lines.boxed_local(),
            cursor,
        }
    }
}

struct Reader {
    calls: Rc<Calls>,
    path: String,
    /// Behind the last event that was given out.
    cursor: Option<String>,
    chunks: Option<ByteStream>,
    lines: Lines,
    /// How long a stream that gives nothing is still asked for.
    patience: Patience,
    ended: bool,
}

impl Reader {
    fn new(calls: &Rc<Calls>, path: String) -> Self {
        Self {
            calls: Rc::clone(calls),
            path,
            cursor: None,
            chunks: None,
            lines: Lines::default(),
            patience: Patience::new(),
            ended: false,
        }
    }

    /// Asks for what comes after the last event.
    async fn ask(&mut self) -> Result<(), Error> {
        let headers = Headers::new();
        headers.set("Accept", "application/x-ndjson")?;
        if let Some(cursor) = &self.cursor {
            headers.set("Last-Event-ID", cursor)?;
        }
        let path = format!("{}?follow=true", self.path);
        let mut answer = self.calls.send(Method::Get, &path, headers, None).await?;
        self.lines = Lines::default();
        self.ended = answer.status_code() == 204;
        self.chunks = (!self.ended).then(|| answer.stream()).transpose()?;
        Ok(())
    }

    async fn next(&mut self) -> Result<Option<Line>, Error> {
        loop {
            if let Some(line) = self.lines.pop()? {
                self.cursor = Some(line.cursor.clone());
                self.ended = self.is_last(&line.event);
                return Ok(Some(line));
            }
            if self.ended {
                return Ok(None);
            }
            match self.chunk().await {
                Ok(chunk) => {
                    // A heartbeat too is a sign of life.
                    self.patience = Patience::new();
                    self.lines.push(&chunk);
                }
                Err(cut) => self.again(cut).await?,
            }
        }
    }

    fn is_last(&self, event: &LogEvent<'_>) -> bool {
        match event {
            LogEvent::Build(_) => true,
            LogEvent::Exit { .. } => !self.path.starts_with("/builds/"),
            _ => false,
        }
    }

    /// What comes next. An end before the last event is a cut, however orderly it looks.
    async fn chunk(&mut self) -> Result<Vec<u8>, Error> {
        let cut = |what: &str| worker::Error::RustError(what.to_owned()).into();
        let Some(chunks) = &mut self.chunks else {
            return Err(cut("it was not open"));
        };
        match within(LIMIT_MS, chunks.try_next()).await {
            Some(Ok(Some(chunk))) => Ok(chunk),
            Some(Ok(None)) => Err(cut("it ended before the last event")),
            Some(Err(error)) => Err(error.into()),
            None => Err(cut("no heartbeat came")),
        }
    }

    /// Asks again until there is an answer, since `cut`.
    async fn again(&mut self, cut: Error) -> Result<(), Error> {
        self.chunks = None;
        let mut last = cut;
        loop {
            if !self.patience.pause().await {
                return Err(Error::Cut {
                    path: self.path.clone(),
                    last: Box::new(last),
                });
            }
            // At least one try has a fair chance, also after a long silence.
            let limit_ms = self.patience.left_ms().max(LIMIT_MS / 4);
            match within(limit_ms, self.ask()).await {
                Some(Ok(())) => return Ok(()),
                Some(Err(error)) if !error.may_pass() => return Err(error),
                Some(Err(error)) => last = error,
                None => last = worker::Error::RustError("no answer came".to_owned()).into(),
            }
        }
    }
}
