//! The service as a whole.

use serde::{Deserialize, Serialize};

/// The answer of the Worker's `GET /health`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct ServiceHealth {
    /// Always true.
    pub ok: bool,
    /// The version that answers.
    pub version: String,
}
