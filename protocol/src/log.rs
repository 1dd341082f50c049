//! What a process prints: streams, events, and how a reader asks for them.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::build::BuildEvent;
use crate::cursor::Cursor;
use crate::error::{ErrorBody, ErrorCode};
use crate::process::ExitReason;
use crate::request::invalid;
use crate::signal::Signal;
use crate::time::Timestamp;

/// One of the two outputs of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Stream {
    /// File descriptor 1, and 2 as well where the streams are merged or a terminal.
    Stdout,
    /// File descriptor 2.
    Stderr,
}

/// Which streams a reader wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Selection {
    /// Both, in the order in which they were read.
    #[default]
    Both,
    /// Standard output alone.
    Stdout,
    /// Standard error alone.
    Stderr,
}

impl Selection {
    /// Whether `stream` is one of the selected.
    #[must_use]
    pub const fn has(self, stream: Stream) -> bool {
        match self {
            Self::Both => true,
            Self::Stdout => matches!(stream, Stream::Stdout),
            Self::Stderr => matches!(stream, Stream::Stderr),
        }
    }
}

/// One event of a log stream. In SSE it is the `data` of a frame whose `id` is the cursor just after it
/// (`truncated`: just before the first surviving event). Every event has a string `data`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(
    tag = "type",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
pub enum LogEvent<'a> {
    /// Bytes of standard output.
    Stdout(Output<'a>),
    /// Bytes of standard error.
    Stderr(Output<'a>),
    /// Older output was dropped before it could be read.
    Truncated {
        /// How many bytes of the selected streams are gone.
        bytes: u64,
        /// A sentence that says so.
        data: Cow<'a, str>,
        /// Whose log it is.
        process_id: Cow<'a, str>,
        /// When it was noticed.
        timestamp: Timestamp,
    },
    /// A run ended and the next begins, under a restart policy.
    Restart {
        /// The number of the run that begins; the first is 1.
        run: u32,
        /// The exit code of the run that ended; null when a signal ended it.
        exit_code: Option<i32>,
        /// The signal that ended it.
        signal: Option<Signal>,
        /// A sentence that says so.
        data: Cow<'a, str>,
        /// Whose log it is.
        process_id: Cow<'a, str>,
        /// When the run ended.
        timestamp: Timestamp,
    },
    /// The process ended, and was seen to. Last, once.
    Exit {
        /// The exit code; null when a signal ended it.
        exit_code: Option<i32>,
        /// The signal that ended it.
        signal: Option<Signal>,
        /// Why it ended.
        reason: ExitReason,
        /// A sentence that says so.
        data: Cow<'a, str>,
        /// Whose log it is.
        process_id: Cow<'a, str>,
        /// When it ended.
        timestamp: Timestamp,
    },
    /// The build ended and its sandbox is destroyed. Last, once, in the stream of a build.
    Build(BuildEvent),
}

/// A piece of what a process printed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Output<'a> {
    /// The text, or the bytes in base64.
    pub data: Cow<'a, str>,
    /// Present when `data` is base64, because the bytes are not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<Encoding>,
    /// Whose output it is.
    pub process_id: Cow<'a, str>,
    /// When it was read from the pipe.
    pub timestamp: Timestamp,
}

/// How bytes are written in `data`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Encoding {
    /// RFC 4648, with padding.
    Base64,
}

impl<'a> Output<'a> {
    /// `bytes` as text where they are UTF-8, else as base64.
    #[must_use]
    pub fn new(bytes: &'a [u8], process_id: &'a str, timestamp: Timestamp) -> Self {
        let (data, encoding) = match std::str::from_utf8(bytes) {
            Ok(text) => (Cow::Borrowed(text), None),
            Err(_) => (Cow::Owned(STANDARD.encode(bytes)), Some(Encoding::Base64)),
        };
        Self {
            data,
            encoding,
            process_id: Cow::Borrowed(process_id),
            timestamp,
        }
    }

    /// The bytes that the process wrote; `None` if the base64 is damaged.
    #[must_use]
    pub fn bytes(&self) -> Option<Cow<'_, [u8]>> {
        match self.encoding {
            None => Some(Cow::Borrowed(self.data.as_bytes())),
            Some(Encoding::Base64) => STANDARD.decode(self.data.as_bytes()).ok().map(Cow::Owned),
        }
    }
}

impl<'a> LogEvent<'a> {
    /// The event of `output` on `stream`.
    #[must_use]
    pub fn output(stream: Stream, output: Output<'a>) -> Self {
        match stream {
            Stream::Stdout => Self::Stdout(output),
            Stream::Stderr => Self::Stderr(output),
        }
    }

    /// The event of a gap of `bytes`.
    #[must_use]
    pub fn truncated(bytes: u64, process_id: &'a str, timestamp: Timestamp) -> Self {
        Self::Truncated {
            bytes,
            data: Cow::Owned(format!("{bytes} bytes of older output were dropped")),
            process_id: Cow::Borrowed(process_id),
            timestamp,
        }
    }
}

/// The sentence for an end by `exit_code` or `signal`.
#[must_use]
pub fn ending(exit_code: Option<i32>, signal: Option<Signal>) -> String {
    match (exit_code, signal) {
        (Some(code), _) => format!("exited with code {code}"),
        (None, Some(signal)) => format!("ended by {signal}"),
        (None, None) => "ended, and nobody saw how".to_owned(),
    }
}

/// The query of a log route, as it comes: `follow`, `since`, `tail`, `stream`, `timestamps`, `ticket`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogQuery {
    /// `true`: go on after what is there.
    pub follow: Option<String>,
    /// The cursor after which to begin.
    pub since: Option<String>,
    /// How many of the last lines to begin with.
    pub tail: Option<String>,
    /// `both`, `stdout` or `stderr`.
    pub stream: Option<String>,
    /// `true`: plain text lines begin with their time.
    pub timestamps: Option<String>,
    /// What a browser sends in place of the header; the Worker takes it off.
    pub ticket: Option<String>,
}

/// Where a reader begins.
#[derive(Clone, Debug, PartialEq)]
pub enum From {
    /// With the oldest that is kept.
    Start,
    /// After this event.
    After(Cursor),
    /// With the last lines, so many.
    Tail(u64),
}

/// How a reader asks for a log, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct LogRequest {
    /// Whether to go on after what is there.
    pub follow: bool,
    /// Where to begin.
    pub from: From,
    /// Which streams to read.
    pub stream: Selection,
    /// Whether plain text lines begin with their time.
    pub timestamps: bool,
    /// The form of the answer.
    pub format: Format,
}

/// The form of a log answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One [`Logs`] object.
    Json,
    /// Server-sent events.
    EventStream,
    /// The events of SSE, one a line.
    Ndjson,
    /// The raw bytes.
    Plain,
}

impl Format {
    /// The media type of the answer.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::EventStream => "text/event-stream",
            Self::Ndjson => "application/x-ndjson",
            Self::Plain => "text/plain; charset=utf-8",
        }
    }

    /// The form that `accept` asks for: the first type in it that we have, else the default, which is
    /// JSON for a snapshot and SSE for a follow.
    #[must_use]
    pub fn negotiate(accept: Option<&str>, follow: bool) -> Self {
        let default = if follow {
            Self::EventStream
        } else {
            Self::Json
        };
        let named = |part: &str| match part.split(';').next().unwrap_or_default().trim() {
            "application/json" => Some(Self::Json),
            "text/event-stream" => Some(Self::EventStream),
            "application/x-ndjson" => Some(Self::Ndjson),
            "text/plain" => Some(Self::Plain),
            _ => None,
        };
        accept
            .and_then(|accept| accept.split(',').find_map(named))
            .unwrap_or(default)
    }
}

impl LogQuery {
    /// Checks the query. `Last-Event-ID` outranks `since`, which outranks `tail`. The error is
    /// `VALIDATION_FAILED` naming the parameter, or `INVALID_CURSOR`.
    pub fn validate(
        &self,
        last_event_id: Option<&str>,
        accept: Option<&str>,
    ) -> Result<LogRequest, ErrorBody> {
        let follow = flag("follow", self.follow.as_deref())?;
        let since = last_event_id
            .filter(|id| !id.is_empty())
            .or(self.since.as_deref());
        let from = match (since, self.tail.as_deref()) {
            (Some(cursor), _) => From::After(Cursor::parse(cursor).ok_or_else(|| {
                ErrorBody::new(
                    ErrorCode::InvalidCursor,
                    "the cursor cannot be read; pass back an `id` as it came",
                )
            })?),
            (None, Some(tail)) => From::Tail(
                tail.parse()
                    .map_err(|_| invalid("tail", "expected a number of lines"))?,
            ),
            (None, None) => From::Start,
        };
        let stream = match self.stream.as_deref() {
            None | Some("both") => Selection::Both,
            Some("stdout") => Selection::Stdout,
            Some("stderr") => Selection::Stderr,
            Some(_) => return Err(invalid("stream", "expected both, stdout or stderr")),
        };
        let format = Format::negotiate(accept, follow);
        if follow && format == Format::Json {
            return Err(invalid(
                "follow",
                "a JSON answer is a snapshot; follow as text/event-stream, application/x-ndjson or text/plain",
            ));
        }
        Ok(LogRequest {
            follow,
            from,
            stream,
            timestamps: flag("timestamps", self.timestamps.as_deref())?,
            format,
        })
    }
}

/// Reads a query flag: absent is false, empty (`?follow`) is true.
pub fn flag(name: &str, value: Option<&str>) -> Result<bool, ErrorBody> {
    match value {
        None | Some("false" | "0") => Ok(false),
        Some("" | "true" | "1") => Ok(true),
        Some(_) => Err(invalid(name, "expected true or false")),
    }
}

/// The JSON answer of a log route.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Logs {
    /// Whose log it is.
    pub process_id: String,
    /// Standard output; what is not UTF-8 is replaced by U+FFFD (the other forms are exact).
    pub stdout: String,
    /// Standard error, likewise.
    pub stderr: String,
    /// Where this answer ends, to go on from.
    pub cursor: String,
    /// Whether older output of the selected streams was dropped.
    pub truncated: bool,
}

#[cfg(test)]
mod tests {
    use super::{Format, From, LogQuery, Output};
    use crate::error::ErrorCode;
    use crate::time::Timestamp;

    #[test]
    fn bytes_that_are_not_text_are_base64_and_come_back() {
        for bytes in [&b"plain"[..], "grün".as_bytes(), &[0xff, 0x00, 0xfe], b""] {
            let output = Output::new(bytes, "p", Timestamp(0));
            assert_eq!(output.bytes().as_deref(), Some(bytes));
            assert_eq!(
                output.encoding.is_some(),
                std::str::from_utf8(bytes).is_err()
            );
        }
    }

    #[test]
    fn the_last_event_id_outranks_since_and_since_outranks_tail() {
        let query = LogQuery {
            since: Some("b.1.2.0.0".into()),
            tail: Some("5".into()),
            ..LogQuery::default()
        };
        let from = |last| match query.validate(last, None).unwrap().from {
            From::After(cursor) => cursor.position.stdout,
            other => panic!("{other:?}"),
        };
        assert_eq!(from(None), 2);
        assert_eq!(from(Some("b.1.9.0.0")), 9);
    }

    #[test]
    fn the_form_follows_accept_and_else_follow() {
        let form = Format::negotiate;
        assert_eq!(form(None, false), Format::Json);
        assert_eq!(form(Some("*/*"), true), Format::EventStream);
        assert_eq!(
            form(Some("text/html, text/plain;q=0.9"), true),
            Format::Plain
        );
    }

    #[test]
    fn a_bad_parameter_is_named() {
        let bad = LogQuery {
            stream: Some("stdin".into()),
            ..LogQuery::default()
        };
        assert_eq!(
            bad.validate(None, None)
                .unwrap_err()
                .context
                .field
                .as_deref(),
            Some("stream")
        );
        let code = LogQuery::default()
            .validate(Some("x"), None)
            .unwrap_err()
            .code;
        assert_eq!(code, ErrorCode::InvalidCursor);
    }
}
