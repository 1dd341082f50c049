//! The contents of answers, by media type.

use serde_json::{Value, json};

/// Server-sent events; each `data` is JSON of this schema.
pub(super) fn events(data: &Value) -> Value {
    json!({
        "schema": {"type": "string", "description": "Server-sent events."},
        "x-itemSchema": data,
    })
}

/// Bytes of this media type.
pub(super) fn bytes(media_type: &str) -> Value {
    json!({media_type: {"schema": {"type": "string", "format": "binary"}}})
}
