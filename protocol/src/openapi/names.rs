//! The schemas of what is text with a rule: names, moments, signals, durations, cursors.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::cursor::Cursor;
use crate::id::{PROCESS_ID_RULE, ProcessId, SANDBOX_ID_RULE, SandboxId};
use crate::process::MAX_DURATION_MS;
use crate::sandbox::SleepAfter;
use crate::signal::{self, Signal};
use crate::time::Timestamp;

/// A schema that stands where it is used: short, and without a name of its own.
macro_rules! inline {
    ($type:ty, $name:literal, |$generator:ident| $schema:expr) => {
        impl JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                Cow::Borrowed($name)
            }

            fn json_schema($generator: &mut SchemaGenerator) -> Schema {
                $schema
            }
        }
    };
}

inline!(Timestamp, "Timestamp", |_generator| json_schema!({
    "type": "string",
    "format": "date-time",
    "pattern": r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$",
}));

inline!(SandboxId, "SandboxId", |_generator| json_schema!({
    "type": "string",
    "description": SANDBOX_ID_RULE,
    "pattern": "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$",
}));

inline!(ProcessId, "ProcessId", |_generator| json_schema!({
    "type": "string",
    "description": PROCESS_ID_RULE,
    "pattern": "^[A-Za-z0-9_-]{1,64}$",
}));

inline!(Cursor, "Cursor", |_generator| json_schema!({
    "type": "string",
    "description": "Opaque: the `id` of an event, passed back as it came.",
    "pattern": r"^[A-Za-z0-9]{1,64}(\.[0-9]{1,18}){4}$",
}));

// Written as a name, read as a name or a number.
inline!(Signal, "Signal", |generator| {
    let names = signal::NAMES.join("|");
    if generator.contract().is_serialize() {
        return json_schema!({
            "type": "string",
            "pattern": format!(r"^SIG({names}|RTMIN\+([0-9]|[12][0-9]|30)|32|33)$"),
        });
    }
    json_schema!({
        "oneOf": [
            {
                "type": "string",
                "pattern": format!(r"^(SIG)?({names}|RTMIN(\+([0-9]|[12][0-9]|30))?)$"),
            },
            {"type": "integer", "minimum": 1, "maximum": 64},
        ],
    })
});

inline!(SleepAfter, "SleepAfter", |_generator| json_schema!({
    "oneOf": [
        {
            "type": "string",
            "description": "From 1 second to 30 days.",
            "pattern": "^[0-9]+(ms|s|m|h)$",
            "examples": ["10m", "90s", "2h"],
        },
        {
            "type": "integer",
            "description": "Seconds.",
            "minimum": 1,
            "maximum": MAX_DURATION_MS / 1000,
        },
    ],
}));
