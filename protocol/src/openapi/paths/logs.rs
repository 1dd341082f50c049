//! What the two log routes have in common.

use serde_json::{Value, json};

use super::super::operation::Operation;
use super::super::schemas::Schemas;
use super::content::{lines, log_events};
use crate::cursor::Cursor;
use crate::error::ErrorCode;
use crate::log::{LogEvent, LogQuery, Logs};

const DESCRIPTION: &str = "\
The form follows `Accept`: one JSON object (the default of a snapshot), server-sent events (the default with \
`follow`), the same events one a line, or the raw bytes. `Last-Event-ID` outranks `since`, which outranks `tail`. \
A stream that ends without an `exit` event (of a build: a `build` event) was cut: ask again with the last id.";

/// Gives `operation` the query and the answers of a log.
pub(super) fn log(operation: Operation, schemas: &mut Schemas) -> Operation {
    let last_event_id = json!({"anyOf": [schemas.request::<Cursor>(), {"const": ""}]});
    let mut forms = streams(schemas);
    forms["application/json"] = json!({"schema": schemas.answer::<Logs>()});
    operation
        .described(DESCRIPTION)
        .takes_ticket()
        .parameters(schemas.query::<LogQuery>())
        .header(
            "Last-Event-ID",
            "The id of the last event that arrived: what comes after it is sent.",
            &last_event_id,
        )
        .answers("200", "The log.", &forms)
        .answers(
            "204",
            "There is nothing after that event, and nothing will come.",
            &Value::Null,
        )
        .fails(&[
            ErrorCode::InvalidCursor,
            ErrorCode::StaleCursor,
            ErrorCode::SandboxNotRunning,
            ErrorCode::TooManySubscribers,
        ])
        .fails(super::REACHES)
}

/// The forms in which a log is answered, but for JSON.
pub(super) fn streams(schemas: &mut Schemas) -> Value {
    let event = schemas.answer::<LogEvent>();
    let cursor = schemas.answer::<Cursor>();
    json!({
        "text/event-stream": log_events(&event, &cursor),
        "application/x-ndjson": lines(&event),
        "text/plain": {"schema": {"type": "string"}},
    })
}
