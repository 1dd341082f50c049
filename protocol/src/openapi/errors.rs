//! The answers of calls that fail: one body, a status for each code.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::Operation;
use crate::error::ErrorCode;

/// What every call can fail with.
pub(super) const OF_EVERY_CALL: &[ErrorCode] = &[
    ErrorCode::ValidationFailed,
    ErrorCode::Unauthorized,
    ErrorCode::OriginNotAllowed,
    ErrorCode::InternalError,
    ErrorCode::ApiKeyMissing,
];

/// The codes by their statuses, each once, in the order of the table.
pub(super) fn by_status(codes: &[ErrorCode]) -> BTreeMap<u16, Vec<ErrorCode>> {
    let mut statuses: BTreeMap<u16, Vec<ErrorCode>> = BTreeMap::new();
    for code in ErrorCode::ALL.iter().filter(|code| codes.contains(code)) {
        statuses.entry(code.status()).or_default().push(*code);
    }
    statuses
}

/// The name of the answer that has one of these codes.
pub(super) fn name(codes: &[ErrorCode]) -> String {
    let names: Vec<String> = codes.iter().map(|code| format!("{code:?}")).collect();
    names.join("-")
}

/// Every answer that some operation fails with, by its name.
pub(super) fn responses(operations: &[Operation]) -> Map<String, Value> {
    let mut responses = Map::new();
    for operation in operations {
        for codes in by_status(&operation.errors).into_values() {
            responses.insert(name(&codes), response(&codes));
        }
    }
    responses
}

fn response(codes: &[ErrorCode]) -> Value {
    let wire: Vec<&str> = codes.iter().map(|code| code.as_str()).collect();
    let mut response = json!({
        "description": wire.join(", "),
        "content": {"application/json": {"schema": {
            "$ref": "#/components/schemas/ErrorBody",
            "properties": {"code": {"enum": wire}},
        }}},
    });
    if codes.contains(&ErrorCode::ContainerUnavailable) {
        response["headers"] = json!({"Retry-After": {"$ref": "#/components/headers/Retry-After"}});
    }
    if codes.contains(&ErrorCode::UpgradeRequired) {
        response["headers"] = json!({"Upgrade": {"$ref": "#/components/headers/Upgrade"}});
    }
    response
}

/// The headers that answers share.
pub(super) fn headers() -> Value {
    json!({
        "Retry-After": {
            "description": "With `CONTAINER_UNAVAILABLE`: after how many seconds to ask again.",
            "schema": {"type": "integer", "minimum": 1},
        },
        "Upgrade": {
            "description": "The protocol that the route speaks.",
            "schema": {"type": "string", "const": "websocket"},
        },
        "Sandbox-Build-Id": {
            "description": "The build's name, for its record and its log.",
            "schema": {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"},
        },
    })
}
