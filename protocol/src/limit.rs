//! The limits in force.

use serde::{Deserialize, Serialize};

/// The answer of `GET …/limits`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct LimitList {
    /// Each by its name in `context.limit`.
    pub limits: Vec<Limit>,
}

/// One limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Limit {
    /// Its name.
    pub name: String,
    /// What it is; 0 for none.
    pub value: u64,
    /// How it holds, in words.
    pub enforced: String,
}
