//! What a process reads.

use serde::{Deserialize, Serialize};

/// What a process reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum Stdin {
    /// `/dev/null`.
    #[default]
    Null,
    /// What callers send to `…/stdin`.
    Pipe,
}

/// The answer of `POST …/stdin`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct StdinReceipt {
    /// How many bytes the process's pipe took.
    pub written_bytes: u64,
}

/// The query of `POST …/stdin`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct StdinQuery {
    /// `true`: nothing comes after this body.
    #[cfg_attr(feature = "openapi", schemars(with = "Option<bool>"))]
    pub eof: Option<String>,
}
