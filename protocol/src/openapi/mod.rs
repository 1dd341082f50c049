//! The `OpenAPI` document of the whole HTTP API, from the types of this crate.
//!
//! [`document`] makes it; the Worker serves what it made from a file, so that nothing of this is in a program
//! that runs. What a type cannot say, `rules` and `names` add, in the same constants that `validate` uses.

mod errors;
mod names;
mod operation;
mod paths;
pub(crate) mod rules;
mod schemas;

use serde_json::{Map, Value, json};

use self::operation::Operation;
use self::schemas::Schemas;

/// The document, as the JSON that `GET /v1/openapi.json` answers.
#[must_use]
pub fn document() -> Value {
    let mut schemas = Schemas::new();
    let operations = paths::all(&mut schemas);
    let responses = errors::responses(&operations);
    let mut all = Map::new();
    for operation in &operations {
        let item = all
            .entry(operation.path)
            .or_insert_with(|| Value::Object(paths::parameters(operation.path)));
        item[operation.method] = operation.to_json();
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "workers-sandbox",
            "version": env!("CARGO_PKG_VERSION"),
            "description": DESCRIPTION,
            "license": {"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"key": []}],
        "tags": paths::tags(),
        "paths": all,
        "components": {
            "schemas": schemas.definitions(),
            "responses": responses,
            "headers": errors::headers(),
            "securitySchemes": {
                "key": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "`SANDBOX_API_KEY`.",
                },
                "ticket": {
                    "type": "apiKey",
                    "in": "query",
                    "name": "ticket",
                    "description": "What a browser shows where it cannot send a header: \
                        the answer of `POST …/tickets`, good for one stream and its reconnects.",
                },
            },
        },
    })
}

/// The same as text, with one operation or component a line: compact, for the Worker carries it, and with
/// differences that can be read.
#[must_use]
pub fn text() -> String {
    let mut text = String::new();
    write(&mut text, &document(), 3);
    text.push('\n');
    text
}

fn write(text: &mut String, value: &Value, depth: usize) {
    match value {
        Value::Object(object) if depth > 0 => {
            text.push('{');
            for (index, (name, value)) in object.iter().enumerate() {
                let comma = if index > 0 { "," } else { "" };
                text.extend([comma, "\n", &json!(name).to_string(), ":"]);
                write(text, value, depth - 1);
            }
            text.push('}');
        }
        value => text.push_str(&value.to_string()),
    }
}

/// What holds for every call.
const DESCRIPTION: &str = "\
Builds, processes, files, terminals and ports in sandboxes, one container each.

Times are RFC 3339 in UTC with milliseconds, durations (`…Ms`) milliseconds, sizes (`…Bytes`) bytes. \
Every error has one body, `ErrorBody`; its status follows from its `code`. A path that is none is 404 \
`ROUTE_NOT_FOUND`, a method that a path does not have 405 `METHOD_NOT_ALLOWED` with `Allow`.

A sandbox id is a name of the caller's choice: the first call that needs its container starts it.";
