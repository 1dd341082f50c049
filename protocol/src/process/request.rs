//! The request for a process, and what it is once it was checked.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use super::{
    Command, DEFAULT_WAIT_MS, Environment, Limits, Restart, Stdin, absolute_cwd, check_duration,
    check_environment,
};
use crate::error::ErrorBody;
use crate::id::ProcessId;
use crate::ready::{Condition, ConditionRequest, Pattern, PatternRequest};
use crate::request::invalid;

/// The body of `POST …/processes`, as it comes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(
    feature = "openapi",
    derive(schemars::JsonSchema),
    schemars(transform = crate::openapi::rules::process_request)
)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ProcessRequest {
    /// A line for `bash -c`. Exactly one of `command` and `argv`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// An executable and its arguments, run without a shell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub argv: Option<Vec<String>>,
    /// The working directory; relative to `/workspace`, which is the default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// Variables on top of the container's and the sandbox's.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: Environment,
    /// A name of the caller's choice, which makes the start idempotent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<ProcessId>,
    /// The lifetime, in milliseconds; 0 is none.
    pub timeout_ms: u64,
    /// What the process reads; `null` and `"null"` are the same.
    #[serde(deserialize_with = "nothing_is_default")]
    #[cfg_attr(feature = "openapi", schemars(with = "Option<Stdin>"))]
    pub stdin: Stdin,
    /// Where its standard error goes.
    pub stderr: Stderr,
    /// The user that it runs as; `sandbox` by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// What it may use.
    pub limits: Limits,
    /// Whether it is started again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart: Option<Restart>,
    /// What the answer waits for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready: Option<ConditionRequest>,
    /// How long it waits, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready_timeout_ms: Option<u64>,
    /// Output at which the tree is terminated, its work done. Set by the object for a build.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<PatternRequest>,
}

/// JSON's `null` as the default.
fn nothing_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Where standard error goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum Stderr {
    /// A pipe of its own.
    #[default]
    Separate,
    /// The pipe of standard output, so that their order is exact.
    Merge,
}

/// A [`ProcessRequest`] that was checked.
#[derive(Clone, Debug, PartialEq)]
pub struct ProcessSpec {
    /// What is run.
    pub command: Command,
    /// The working directory, absolute.
    pub cwd: String,
    /// Variables on top of the container's and the sandbox's.
    pub env: Environment,
    /// The caller's name for it.
    pub id: Option<ProcessId>,
    /// The lifetime in milliseconds, if there is one.
    pub timeout_ms: Option<u64>,
    /// What the process reads.
    pub stdin: Stdin,
    /// Where its standard error goes.
    pub stderr: Stderr,
    /// The user that it runs as, if not `sandbox`.
    pub user: Option<String>,
    /// What it may use.
    pub limits: Limits,
    /// Whether it is started again.
    pub restart: Option<Restart>,
    /// What the answer to the start waits for.
    pub ready: Option<Condition>,
    /// How long it waits, in milliseconds.
    pub ready_timeout_ms: u64,
    /// Output at which the tree is terminated.
    pub until: Option<Pattern>,
}

impl ProcessSpec {
    /// Whether a start by `other` may be answered with what this one started: the same but for what the
    /// answer waits for.
    #[must_use]
    pub fn same_process(&self, other: &Self) -> bool {
        let bare = |spec: &Self| Self {
            ready: None,
            ready_timeout_ms: 0,
            ..spec.clone()
        };
        bare(self) == bare(other)
    }
}

impl ProcessRequest {
    /// Checks what can be checked without a machine. The error names the field.
    pub fn validate(&self) -> Result<ProcessSpec, ErrorBody> {
        check_environment("env", &self.env)?;
        check_duration("timeoutMs", self.timeout_ms)?;
        if self.limits.log_bytes == 0 {
            return Err(invalid("limits.logBytes", "must be at least 1"));
        }
        if let Some(restart) = &self.restart {
            check_duration("restart.backoffMs", restart.backoff_ms)?;
        }
        let ready_timeout_ms = self.ready_timeout_ms.unwrap_or(DEFAULT_WAIT_MS);
        check_duration("readyTimeoutMs", ready_timeout_ms)?;
        Ok(ProcessSpec {
            command: Command::from_fields(self.command.as_deref(), self.argv.as_deref())?,
            cwd: absolute_cwd(self.cwd.as_deref())?,
            env: self.env.clone(),
            id: self.id.clone(),
            timeout_ms: (self.timeout_ms > 0).then_some(self.timeout_ms),
            stdin: self.stdin,
            stderr: self.stderr,
            user: self.user.clone(),
            limits: self.limits,
            restart: self.restart,
            ready: self
                .ready
                .as_ref()
                .map(|ready| ready.validate("ready"))
                .transpose()?,
            ready_timeout_ms,
            until: self
                .until
                .as_ref()
                .map(|until| until.validate("until"))
                .transpose()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::ProcessRequest;
    use crate::error::ErrorCode;
    use crate::process::Stdin;
    use crate::request::parse;

    fn request(json: &str) -> Result<super::ProcessSpec, crate::error::ErrorBody> {
        parse::<ProcessRequest, _>(&mut serde_json::Deserializer::from_str(json))?.validate()
    }

    #[test]
    fn exactly_one_of_command_and_argv_is_given() {
        assert!(request(r#"{"command":"true"}"#).is_ok());
        assert!(request(r#"{"argv":["true"]}"#).is_ok());
        for (bad, code) in [
            ("{}", ErrorCode::ValidationFailed),
            (
                r#"{"command":"a","argv":["a"]}"#,
                ErrorCode::ValidationFailed,
            ),
            (r#"{"command":" "}"#, ErrorCode::InvalidCommand),
            (r#"{"argv":[]}"#, ErrorCode::InvalidCommand),
            (r#"{"argv":[""]}"#, ErrorCode::InvalidCommand),
            (r#"{"command":"a\u0000b"}"#, ErrorCode::InvalidCommand),
        ] {
            assert_eq!(request(bad).unwrap_err().code, code, "{bad}");
        }
    }

    #[test]
    fn standard_input_is_null_by_default_and_by_either_name() {
        for (stdin, wanted) in [
            ("", Stdin::Null),
            (r#","stdin":null"#, Stdin::Null),
            (r#","stdin":"null""#, Stdin::Null),
            (r#","stdin":"pipe""#, Stdin::Pipe),
        ] {
            let spec = request(&format!(r#"{{"command":"a"{stdin}}}"#)).unwrap();
            assert_eq!(spec.stdin, wanted, "{stdin}");
        }
    }

    #[test]
    fn the_field_that_is_wrong_is_named() {
        for (bad, field) in [
            (r#"{"command":1}"#, "command"),
            (r#"{"command":"a","env":{"A":1}}"#, "env.A"),
            (r#"{"command":"a","env":{"A=B":"1"}}"#, "env.A=B"),
            (
                r#"{"command":"a","limits":{"logBytes":"x"}}"#,
                "limits.logBytes",
            ),
            (r#"{"command":"a","timeoutMs":-1}"#, "timeoutMs"),
            (r#"{"command":"a","id":"a/b"}"#, "id"),
            (r#"{"command":"a","nope":1}"#, "nope"),
            (
                r#"{"command":"a","restart":{"policy":"sometimes"}}"#,
                "restart.policy",
            ),
        ] {
            let error = request(bad).unwrap_err();
            assert_eq!(
                error.context.field.as_deref(),
                Some(field),
                "{bad}: {error}"
            );
        }
    }

    #[test]
    fn the_same_process_may_be_waited_for_otherwise() {
        let a = request(r#"{"command":"a","ready":{"port":80}}"#).unwrap();
        let b = request(r#"{"command":"a","readyTimeoutMs":5}"#).unwrap();
        let c = request(r#"{"command":"a","env":{"A":"b"}}"#).unwrap();
        assert!(a.same_process(&b));
        assert!(!a.same_process(&c));
    }
}
