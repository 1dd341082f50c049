//! What a process and its tree may use.

use serde::{Deserialize, Serialize};

/// The log cap of a process that names none: 256 MiB.
pub const DEFAULT_LOG_BYTES: u64 = 256 << 20;

/// What a process and its descendants may use; 0 is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(
    feature = "openapi",
    derive(schemars::JsonSchema),
    schemars(transform = crate::openapi::rules::limits)
)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Limits {
    /// Bytes of its log that are kept.
    pub log_bytes: u64,
    /// Memory of the tree, in bytes: what its control group is charged with, or else what is resident.
    pub memory_bytes: u64,
    /// Processes in the tree, each thread counted as one, as the kernel counts them.
    pub processes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            log_bytes: DEFAULT_LOG_BYTES,
            memory_bytes: 0,
            processes: 0,
        }
    }
}
