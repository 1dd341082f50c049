//! How a reader asks for a log.

use serde::Deserialize;

use super::{Format, Selection};
use crate::cursor::Cursor;
use crate::error::{ErrorBody, ErrorCode};
use crate::request::invalid;

/// The query of a log route, as it comes: `follow`, `since`, `tail`, `stream`, `timestamps`, `ticket`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct LogQuery {
    /// `true`: go on after what is there.
    #[cfg_attr(feature = "openapi", schemars(with = "bool"))]
    pub follow: Option<String>,
    /// The cursor after which to begin.
    #[cfg_attr(feature = "openapi", schemars(with = "Cursor"))]
    pub since: Option<String>,
    /// How many of the last lines to begin with.
    #[cfg_attr(feature = "openapi", schemars(with = "u64"))]
    pub tail: Option<String>,
    /// `both`, `stdout` or `stderr`.
    #[cfg_attr(feature = "openapi", schemars(with = "Selection"))]
    pub stream: Option<String>,
    /// `true`: plain text lines begin with their time.
    #[cfg_attr(feature = "openapi", schemars(with = "bool"))]
    pub timestamps: Option<String>,
    /// What a browser sends in place of the header; the Worker takes it off.
    #[cfg_attr(feature = "openapi", schemars(skip))]
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

impl LogQuery {
    /// Whether it asks to go on after what is there; `false` for what cannot be read.
    #[must_use]
    pub fn follows(&self) -> bool {
        flag("follow", self.follow.as_deref()).unwrap_or_default()
    }

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
        let format = if follow {
            Format::negotiate_follow(accept)
        } else {
            Format::negotiate(accept, Format::Json)
        };
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

#[cfg(test)]
mod tests {
    use super::{From, LogQuery};
    use crate::error::ErrorCode;

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
