//! The lifecycle log of a sandbox.

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// One line of a sandbox's lifecycle log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// When.
    pub timestamp: Timestamp,
    /// What: `starting`, `running`, `startFailed`, `buildStarted`, `buildEnded`, `destroyed`, …
    pub event: String,
    /// Which life of the sandbox.
    pub generation: u64,
    /// Why, or what else there is to know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// The answer of `GET …/events`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct EventList {
    /// Newest last.
    pub events: Vec<Event>,
}
