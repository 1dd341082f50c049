//! Whether a process is started again.

use serde::{Deserialize, Serialize};

/// When and how often a process is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(
    feature = "openapi",
    derive(schemars::JsonSchema),
    schemars(transform = crate::openapi::rules::restart)
)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Restart {
    /// After which ends.
    pub policy: RestartPolicy,
    /// How often at most.
    pub max_restarts: u32,
    /// The pause before the first, in milliseconds; it doubles each time, up to 30 s.
    pub backoff_ms: u64,
}

impl Default for Restart {
    fn default() -> Self {
        Self {
            policy: RestartPolicy::OnFailure,
            max_restarts: 5,
            backoff_ms: 500,
        }
    }
}

/// After which ends a process is started again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum RestartPolicy {
    /// After none.
    Never,
    /// After an exit other than 0, or a signal.
    #[default]
    OnFailure,
    /// After every end that nobody asked for.
    Always,
}
