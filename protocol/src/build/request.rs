//! The request for a build.

use serde::{Deserialize, Serialize};

use crate::error::ErrorBody;
use crate::process::{
    Command, Environment, Limits, ProcessRequest, absolute_cwd, check_environment,
};
use crate::ready::PatternRequest;
use crate::request::invalid;

/// The lifetime of a build that names none: 1 h.
pub const DEFAULT_TIMEOUT_MS: u64 = 3_600_000;

/// The body of `POST …/builds`, as it comes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(
    feature = "openapi",
    derive(schemars::JsonSchema),
    schemars(transform = crate::openapi::rules::build_request)
)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct BuildRequest {
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
    #[serde(skip_serializing_if = "Environment::is_empty")]
    pub env: Environment,
    /// The lifetime in milliseconds; 1 h by default, at most the ceiling.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// Output that means success.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<PatternRequest>,
    /// What happens when the client goes away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_disconnect: Option<OnDisconnect>,
    /// What the build may use.
    pub limits: Limits,
}

/// What happens to a build whose client goes away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum OnDisconnect {
    /// It is cancelled.
    #[default]
    Cancel,
    /// It goes on.
    Continue,
}

impl BuildRequest {
    /// Checks the request against `ceiling_ms` and turns it into the process to start, named `id`.
    pub fn validate(
        &self,
        id: &crate::id::BuildId,
        ceiling_ms: u64,
    ) -> Result<ProcessRequest, ErrorBody> {
        let timeout_ms = self
            .timeout_ms
            .unwrap_or(DEFAULT_TIMEOUT_MS.min(ceiling_ms));
        if timeout_ms == 0 || timeout_ms > ceiling_ms {
            return Err(invalid(
                "timeoutMs",
                &format!("between 1 and the ceiling of {ceiling_ms} milliseconds"),
            ));
        }
        check_environment("env", &self.env)?;
        let process = ProcessRequest {
            command: self.command.clone(),
            argv: self.argv.clone(),
            cwd: self.cwd.clone(),
            env: self.env.clone(),
            id: Some(id.clone()),
            timeout_ms,
            limits: self.limits,
            until: self.until.clone(),
            ..ProcessRequest::default()
        };
        process.validate()?;
        Ok(process)
    }

    /// The command as one line, for the record.
    pub fn command_line(&self) -> Result<String, ErrorBody> {
        Command::from_fields(self.command.as_deref(), self.argv.as_deref())
            .map(|command| command.display())
    }

    /// The working directory, absolute, for the record.
    pub fn absolute_cwd(&self) -> Result<String, ErrorBody> {
        absolute_cwd(self.cwd.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::BuildRequest;
    use crate::id::BuildId;

    fn field(json: &str) -> Option<String> {
        let request: BuildRequest = serde_json::from_str(json).unwrap();
        let id = BuildId::parse("b1").unwrap();
        request
            .validate(&id, 6 * 3_600_000)
            .err()
            .map(|e| e.context.field.unwrap_or_default())
    }

    #[test]
    fn a_lifetime_is_within_the_ceiling() {
        assert_eq!(field(r#"{"command":"a"}"#), None);
        assert_eq!(field(r#"{"command":"a","timeoutMs":21600000}"#), None);
        assert_eq!(
            field(r#"{"command":"a","timeoutMs":21600001}"#).as_deref(),
            Some("timeoutMs")
        );
        assert_eq!(
            field(r#"{"command":"a","timeoutMs":0}"#).as_deref(),
            Some("timeoutMs")
        );
        assert_eq!(
            field(r#"{"command":"a","until":{"log":"x","regex":"y"}}"#).as_deref(),
            Some("until")
        );
    }

    #[test]
    fn the_lifetime_of_one_hour_bends_to_a_lower_ceiling() {
        let request: BuildRequest = serde_json::from_str(r#"{"command":"a"}"#).unwrap();
        let process = request
            .validate(&BuildId::parse("b").unwrap(), 1000)
            .unwrap();
        assert_eq!(process.timeout_ms, 1000);
    }
}
