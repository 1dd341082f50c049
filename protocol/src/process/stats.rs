//! What a tree has used.

use serde::{Deserialize, Serialize};

/// What a tree has used; `null` where the kernel refuses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Stats {
    /// Time on a processor, in milliseconds, of the living and the dead.
    pub cpu_ms: Option<u64>,
    /// Resident memory, in bytes.
    pub rss_bytes: Option<u64>,
    /// Bytes read from storage.
    pub read_bytes: Option<u64>,
    /// Bytes written to storage.
    pub write_bytes: Option<u64>,
    /// Threads.
    pub threads: Option<u64>,
    /// Processes.
    pub processes: Option<u64>,
}
