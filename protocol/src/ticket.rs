//! Tickets: what a browser shows where it cannot send a header.

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// The answer of `POST …/tickets`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Ticket {
    /// The value of `?ticket=`.
    pub ticket: String,
    /// Until when it may be used first; the stream that it opened it may open again.
    pub expires_at: Timestamp,
}
