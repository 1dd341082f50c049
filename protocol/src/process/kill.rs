//! Ending a tree, and the proof that it ended.

use serde::{Deserialize, Deserializer, Serialize};

use super::Process;
use super::check_duration;
use crate::error::ErrorBody;
use crate::signal::Signal;

/// The body of `POST …/kill`; an empty body is all defaults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(
    feature = "openapi",
    derive(schemars::JsonSchema),
    schemars(transform = crate::openapi::rules::kill_request)
)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct KillRequest {
    /// What the tree is sent first; SIGTERM by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal: Option<Signal>,
    /// How long it has before SIGKILL, in milliseconds. Absent: the signal's default. `null`: deliver the
    /// signal and do not wait.
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub grace_ms: Option<Option<u64>>,
}

#[expect(
    clippy::option_option,
    reason = "absent and null mean different things"
)]
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<u64>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// A [`KillRequest`] with its defaults filled in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kill {
    /// What the tree is sent first.
    pub signal: Signal,
    /// How long it has before SIGKILL, in milliseconds; `None`: the signal alone.
    pub grace_ms: Option<u64>,
}

impl Default for Kill {
    fn default() -> Self {
        Self {
            signal: Signal::TERM,
            grace_ms: Signal::TERM.default_grace_ms(),
        }
    }
}

impl KillRequest {
    /// Checks the grace and fills in the defaults.
    pub fn validate(&self) -> Result<Kill, ErrorBody> {
        let signal = self.signal.unwrap_or(Signal::TERM);
        let grace_ms = self.grace_ms.unwrap_or_else(|| signal.default_grace_ms());
        check_duration("graceMs", grace_ms.unwrap_or(0))?;
        Ok(Kill { signal, grace_ms })
    }
}

/// One process of a tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Member {
    /// The operating system's number.
    pub pid: u32,
    /// Its command line, or its name in brackets where that is empty.
    pub command: String,
}

/// The proof of a kill.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct KillReceipt {
    /// The process after the kill.
    pub process: Process,
    /// Who got the signal, or ended by what it did to another before it came.
    pub signalled: Vec<Member>,
    /// Who was left after the grace and got SIGKILL.
    pub killed: Vec<Member>,
    /// Who lives on; empty when the tree is gone.
    pub survivors: Vec<Member>,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
}

/// The answer of `DELETE …/processes`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct KillAllReceipt {
    /// How many records were running.
    pub killed: u32,
    /// Who lives on, of all trees.
    pub survivors: Vec<Member>,
}

#[cfg(test)]
mod tests {
    use super::KillRequest;
    use crate::signal::Signal;

    #[test]
    fn a_grace_of_null_differs_from_none() {
        let kill = |json| {
            serde_json::from_str::<KillRequest>(json)
                .unwrap()
                .validate()
                .unwrap()
        };
        assert_eq!(kill("{}").grace_ms, Some(5000));
        assert_eq!(kill(r#"{"graceMs":null}"#).grace_ms, None);
        assert_eq!(kill(r#"{"signal":"SIGHUP"}"#).grace_ms, None);
        assert_eq!(kill(r#"{"signal":9}"#).grace_ms, Some(0));
        assert_eq!(
            kill(r#"{"signal":"SIGUSR1","graceMs":10}"#).signal,
            Signal::from_name("USR1").unwrap()
        );
    }
}
