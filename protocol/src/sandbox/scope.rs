//! The stream that a caller holds for as long as it needs the sandbox.

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// The first event of the stream of `POST …/scope`; nothing but comments comes after it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(
    feature = "openapi",
    derive(schemars::JsonSchema),
    schemars(rename = "ScopeEvent", transform = crate::openapi::rules::scope_event)
)]
#[serde(tag = "type", rename = "scope", rename_all = "camelCase")]
pub struct ScopeEvent {
    /// What `DELETE …/scope/{scope}` names.
    pub scope_id: String,
    /// A sentence for a person.
    pub data: String,
    /// When it was opened.
    pub timestamp: Timestamp,
}

impl ScopeEvent {
    /// The event of the scope `id`, opened at `timestamp`.
    #[must_use]
    pub fn new(id: &str, timestamp: Timestamp) -> Self {
        Self {
            scope_id: id.to_owned(),
            data: "The sandbox is destroyed when this stream ends before the scope is deleted"
                .to_owned(),
            timestamp,
        }
    }
}
