//! The receipt of a destroy.

use serde::{Deserialize, Serialize};

use crate::process::Member;

/// The receipt of a destroy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Receipt {
    /// The sandbox.
    pub id: String,
    /// Whether there was a container.
    pub was_running: bool,
    /// What became of each process that ran.
    pub processes: Vec<Ended>,
    /// Who outlived the kill; they went with the container.
    pub survivors: Vec<Member>,
    /// Whether the container is gone.
    pub container_destroyed: bool,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
}

/// How a process ended in a destroy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Ended {
    /// Its name.
    pub id: String,
    /// The operating system's number of its first process.
    pub pid: Option<u32>,
    /// How it ended.
    pub outcome: Outcome,
}

/// How a process ended in a destroy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// By itself, before it was asked.
    Exited,
    /// When it was asked.
    Terminated,
    /// By SIGKILL, or with its container.
    Killed,
}
