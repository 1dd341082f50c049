//! What the two log routes have in common.

use serde_json::{Value, json};

use super::super::operation::Operation;
use super::super::schemas::Schemas;
use super::content::events;
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
    operation
        .described(DESCRIPTION)
        .takes_ticket()
        .parameters(schemas.query::<LogQuery>())
        .header(
            "Last-Event-ID",
            "The id of the last event that arrived: what comes after it is sent.",
            &last_event_id,
        )
        .answers("200", "The log.", &forms(schemas))
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

fn forms(schemas: &mut Schemas) -> Value {
    let event = schemas.answer::<LogEvent>();
    let logs = schemas.answer::<Logs>();
    json!({
        "application/json": {"schema": logs},
        "text/event-stream": events(&event),
        "application/x-ndjson": {
            "schema": {"type": "string", "description": "One event a line."},
            "x-itemSchema": event,
        },
        "text/plain": {"schema": {"type": "string"}},
    })
}
