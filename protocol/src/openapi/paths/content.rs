//! The contents of answers, by media type. In `OpenAPI` 3.1 the schema of a stream is that of each of its items.

use serde_json::{Value, json};

/// Server-sent events that have no name; the `data` of each is JSON of this schema, and its `id` a cursor.
pub(super) fn log_events(data: &Value, cursor: &Value) -> Value {
    event(
        &json!({"id": cursor, "data": json_text(data)}),
        &["id", "data"],
    )
}

/// Server-sent events that have neither a name nor an id; the `data` of each is JSON of this schema.
pub(super) fn events(data: &Value) -> Value {
    event(&json!({"data": json_text(data)}), &["data"])
}

/// Server-sent events with names, and what the `data` of each is.
pub(super) fn named_events(kinds: &[(&str, Value)]) -> Value {
    let names: Vec<&str> = kinds.iter().map(|(name, _)| *name).collect();
    let rules = kinds.iter().map(|(name, data)| {
        json!({
            "if": {"properties": {"event": {"const": name}}},
            "then": {"properties": {"data": data}},
        })
    });
    let rules: Vec<Value> = rules.collect();
    let properties = json!({"event": {"enum": names}, "data": {"type": "string"}});
    let mut event = event(&properties, &["event", "data"]);
    event["schema"]["allOf"] = rules.into();
    event
}

/// Text that is JSON of this schema.
pub(super) fn json_text(schema: &Value) -> Value {
    json!({"type": "string", "contentMediaType": "application/json", "contentSchema": schema})
}

fn event(properties: &Value, required: &[&str]) -> Value {
    json!({"schema": {
        "type": "object",
        "description": "One server-sent event.",
        "properties": properties,
        "required": required,
    }})
}

/// One JSON value of this schema a line.
pub(super) fn lines(schema: &Value) -> Value {
    json!({"schema": schema})
}

/// Bytes of this media type.
pub(super) fn bytes(media_type: &str) -> Value {
    json!({media_type: {"schema": {"type": "string", "format": "binary"}}})
}
