//! What `validate` demands of a request beyond its types, in the words of JSON Schema.

use schemars::Schema;
use serde_json::{Map, Value, json};

use crate::process::MAX_DURATION_MS;

/// Text that a system call can take.
const NO_NUL: &str = r"^[^\x00]*$";

/// Text with something to see, that a system call can take.
const COMMAND: &str = r"^[^\x00]*[^\s\x00][^\x00]*$";

type Object = Map<String, Value>;

/// `POST …/processes`.
pub(crate) fn process_request(schema: &mut Schema) {
    command(schema);
    at_most(schema, "timeoutMs", MAX_DURATION_MS);
    at_most(schema, "readyTimeoutMs", MAX_DURATION_MS);
}

/// `POST …/builds`.
pub(crate) fn build_request(schema: &mut Schema) {
    command(schema);
    set(schema, "timeoutMs", "minimum", json!(1));
    at_most(schema, "timeoutMs", MAX_DURATION_MS);
}

/// `POST …/exec`, which has a second name for its `timeoutMs`, and takes one of the two.
pub(crate) fn exec_request(schema: &mut Schema) {
    command(schema);
    at_most(schema, "timeoutMs", MAX_DURATION_MS);
    set(schema, "stdin", "description", json!("What it reads."));
    let properties = properties(schema);
    let mut bridge = properties["timeoutMs"].clone();
    bridge["description"] =
        json!("The same as `timeoutMs`, by the name that the bridge has for it.");
    properties.insert("timeout_ms".to_owned(), bridge);
    schema.insert(
        "not".to_owned(),
        json!({"required": ["timeoutMs", "timeout_ms"]}),
    );
}

/// `limits` of a process.
pub(crate) fn limits(schema: &mut Schema) {
    set(schema, "logBytes", "minimum", json!(1));
}

/// `restart` of a process.
pub(crate) fn restart(schema: &mut Schema) {
    at_most(schema, "backoffMs", MAX_DURATION_MS);
}

/// `POST …/kill`.
pub(crate) fn kill_request(schema: &mut Schema) {
    at_most(schema, "graceMs", MAX_DURATION_MS);
}

/// `PATCH /v1/sandbox/{sandbox}`.
pub(crate) fn options_request(schema: &mut Schema) {
    environment(schema);
}

/// `{"maxMs": n}`.
pub(crate) fn keep_alive_request(schema: &mut Schema) {
    for variant in schema
        .get_mut("anyOf")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        if let Some(max_ms) = variant.pointer_mut("/properties/maxMs") {
            max_ms["minimum"] = json!(1);
        }
    }
}

/// `until` of a build.
pub(crate) fn pattern_request(schema: &mut Schema) {
    set(schema, "log", "minLength", json!(1));
    set(schema, "regex", "minLength", json!(1));
    exactly_one(schema, &[("log", &["stream"]), ("regex", &["stream"])]);
}

/// A condition; where it is the whole of a wait it has a `timeoutMs` too.
pub(crate) fn condition_request(schema: &mut Schema) {
    properties(schema).remove("timeoutMs");
    set(schema, "port", "minimum", json!(1));
    set(schema, "port", "maximum", json!(65_535));
    set(schema, "path", "pattern", json!("^/[!-~]*$"));
    set(schema, "log", "minLength", json!(1));
    set(schema, "regex", "minLength", json!(1));
    set(schema, "exit", "enum", json!([true, null]));
    words(schema, "exec");
    set(schema, "file", "minLength", json!(1));
    set(schema, "file", "pattern", json!(NO_NUL));
    set(schema, "all", "minItems", json!(1));
    set(schema, "any", "minItems", json!(1));
    exactly_one(
        schema,
        &[
            ("port", &["mode", "path", "status", "intervalMs"]),
            ("log", &["stream"]),
            ("regex", &["stream"]),
            ("exit", &[]),
            ("exec", &["intervalMs"]),
            ("file", &["intervalMs"]),
            ("all", &[]),
            ("any", &[]),
        ],
    );
}

/// The event of a scope: the tag of a struct is nothing that a derived schema has.
pub(crate) fn scope_event(schema: &mut Schema) {
    let tag = json!({"type": "string", "const": "scope"});
    properties(schema).insert("type".to_owned(), tag);
    if let Some(Value::Array(required)) = schema.get_mut("required") {
        required.push(json!("type"));
    }
}

/// The size of a terminal.
pub(crate) fn size(schema: &mut Schema) {
    set(schema, "cols", "minimum", json!(1));
    set(schema, "rows", "minimum", json!(1));
}

/// What every request for a process has in common: `command` or `argv`, `cwd`, `env`.
fn command(schema: &mut Schema) {
    set(schema, "command", "pattern", json!(COMMAND));
    words(schema, "argv");
    set(schema, "cwd", "minLength", json!(1));
    set(schema, "cwd", "pattern", json!(NO_NUL));
    environment(schema);
    let rest: Vec<String> = properties(schema).keys().cloned().collect();
    let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
    exactly_one(schema, &[("command", &rest), ("argv", &rest)]);
}

fn environment(schema: &mut Schema) {
    set(
        schema,
        "env",
        "propertyNames",
        json!({"pattern": r"^[^=\x00]+$"}),
    );
    set(
        schema,
        "env",
        "additionalProperties",
        json!({"type": ["string", "null"], "pattern": NO_NUL}),
    );
}

/// An executable and its arguments.
fn words(schema: &mut Schema, name: &str) {
    set(schema, name, "minItems", json!(1));
    let first = json!({"type": "string", "minLength": 1, "pattern": NO_NUL});
    set(schema, name, "prefixItems", json!([first]));
    set(
        schema,
        name,
        "items",
        json!({"type": "string", "pattern": NO_NUL}),
    );
}

fn at_most(schema: &mut Schema, name: &str, maximum: u64) {
    set(schema, name, "maximum", json!(maximum));
}

/// Exactly one of these is there and not null, and with it nothing but its companions.
fn exactly_one(schema: &mut Schema, kinds: &[(&str, &[&str])]) {
    let properties = properties(schema).clone();
    let branch = |(kind, companions): &(&str, &[&str])| {
        let mut rules = Object::new();
        for (name, property) in &properties {
            if name == kind {
                rules.insert(name.clone(), json!({"type": not_null(&property["type"])}));
            } else if !companions.contains(&name.as_str())
                || kinds.iter().any(|(other, _)| other == name)
            {
                rules.insert(name.clone(), json!({"type": "null"}));
            }
        }
        json!({"required": [kind], "properties": rules})
    };
    let branches: Vec<Value> = kinds.iter().map(branch).collect();
    schema.insert("oneOf".to_owned(), branches.into());
}

/// The type that is left of `["string", "null"]`.
fn not_null(types: &Value) -> Value {
    let named = types
        .as_array()
        .and_then(|types| types.iter().find(|one| **one != "null"));
    named.unwrap_or(types).clone()
}

fn set(schema: &mut Schema, property: &str, keyword: &str, value: Value) {
    let object = properties(schema)
        .get_mut(property)
        .unwrap_or_else(|| panic!("the request has a field {property}"));
    object[keyword] = value;
}

fn properties(schema: &mut Schema) -> &mut Object {
    let properties = schema.get_mut("properties").and_then(Value::as_object_mut);
    properties.expect("a request is an object with fields")
}
