//! What a process reads.

use serde::{Deserialize, Serialize};

/// What a process reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
#[serde(rename_all = "camelCase")]
pub struct StdinReceipt {
    /// How many bytes the process's pipe took.
    pub written_bytes: u64,
}
