//! Sandboxes: options, state, the receipt of a destroy, the lifecycle log.

mod event;
mod list;
mod options;
mod receipt;
mod scope;

pub use event::{Event, EventList};
pub use list::{MAX_PAGE, PAGE, SandboxList, SandboxQuery};
pub use options::{DEFAULT_SLEEP_AFTER_MS, KeepAliveRequest, OptionsRequest, SleepAfter};
pub use receipt::{Ended, Outcome, Receipt};
pub use scope::ScopeEvent;

use serde::{Deserialize, Serialize};

use crate::build::Build;
use crate::time::Timestamp;

/// Where a sandbox is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum SandboxStatus {
    /// No container.
    Stopped,
    /// A container that does not answer yet.
    Starting,
    /// A container whose supervisor answers.
    Running,
    /// A container on its way out.
    Stopping,
}

/// A sandbox, as every route tells of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Sandbox {
    /// Its name.
    pub id: String,
    /// Where it is in its life.
    pub status: SandboxStatus,
    /// The boot of its supervisor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<String>,
    /// When its container was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When somebody last did something that counts as activity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_activity_at: Option<Timestamp>,
    /// How long it may idle.
    pub sleep_after_ms: u64,
    /// The lease, if there is one.
    pub keep_alive: Option<KeepAlive>,
    /// How many processes run in it.
    pub running_processes: u32,
    /// The build that runs in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<Build>,
}

/// A lease on a sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct KeepAlive {
    /// When it ends.
    pub expires_at: Timestamp,
}

/// The answer of `POST /v1/sandbox`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Created {
    /// The new sandbox's name, `[a-z2-7]{26}`.
    pub id: String,
}

/// The answer of `GET …/running`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Running {
    /// Whether its container runs.
    pub running: bool,
}

/// The answer of a bridge route that has nothing else to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Done {
    /// Always true.
    pub ok: bool,
}
