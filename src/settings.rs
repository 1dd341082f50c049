//! The Worker's variables (`[vars]` in wrangler.toml), read and checked in one place.

use sandbox_protocol::error::{ErrorBody, ErrorCode};
use sandbox_protocol::sandbox::SleepAfter;
use worker::{Env, js_sys};

/// What the deployment decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// How long a lease, a build or a running process may keep a sandbox, in milliseconds.
    pub(crate) max_keep_alive_ms: u64,
    /// How long a build whose stream was cut on our side waits for its client, in milliseconds.
    pub(crate) reattach_grace_ms: u64,
    /// How often a quiet stream gets a comment, in milliseconds.
    pub(crate) heartbeat_ms: u64,
    /// How much of a build's log is kept, in bytes; the newest.
    pub(crate) kept_log_bytes: u64,
    /// How long records of what has ended are kept, in milliseconds.
    pub(crate) retention_ms: u64,
}

impl Settings {
    /// Reads the variables that `lookup` finds. The error names the variable and its rule.
    pub(crate) fn read(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, ErrorBody> {
        let duration = |name: &str, default: u64| match lookup(name) {
            None => Ok(default),
            Some(text) => SleepAfter::parse(&text)
                .filter(|SleepAfter(ms)| *ms > 0)
                .map(|SleepAfter(ms)| ms)
                .ok_or_else(|| misconfigured(name, "a duration like \"30s\", \"10m\" or \"6h\"")),
        };
        Ok(Self {
            max_keep_alive_ms: duration("SANDBOX_MAX_KEEPALIVE", 6 * 3_600_000)?,
            reattach_grace_ms: duration("SANDBOX_REATTACH_GRACE", 30_000)?,
            heartbeat_ms: duration("SANDBOX_HEARTBEAT", 10_000)?,
            kept_log_bytes: match lookup("SANDBOX_KEPT_LOG") {
                None => 64 << 20,
                Some(text) => text
                    .parse()
                    .map_err(|_| misconfigured("SANDBOX_KEPT_LOG", "a number of bytes"))?,
            },
            retention_ms: duration("SANDBOX_RETENTION", 7 * 24 * 3_600_000)?,
        })
    }

    /// Reads the variables of `env`.
    pub(crate) fn from_env(env: &Env) -> Result<Self, ErrorBody> {
        Self::read(|name| variable(env, name))
    }
}

/// The variable `name` of `env`, unless it is absent or empty. TOML has numbers and switches too.
pub(crate) fn variable(env: &Env, name: &str) -> Option<String> {
    let value = js_sys::Reflect::get(env.as_ref(), &name.into()).ok()?;
    let text = value
        .as_string()
        .or_else(|| value.as_f64().map(|number| number.to_string()))
        .or_else(|| value.as_bool().map(|switch| switch.to_string()))?;
    (!text.is_empty()).then_some(text)
}

fn misconfigured(name: &str, rule: &str) -> ErrorBody {
    ErrorBody::new(
        ErrorCode::InternalError,
        format!("this deployment is misconfigured: {name} must be {rule}"),
    )
}

#[cfg(test)]
mod tests {
    use super::Settings;

    #[test]
    fn what_is_absent_has_the_documented_default() {
        let settings = Settings::read(|_| None).unwrap();
        assert_eq!(settings.max_keep_alive_ms, 21_600_000);
        assert_eq!(settings.reattach_grace_ms, 30_000);
        assert_eq!(settings.kept_log_bytes, 67_108_864);
        assert_eq!(settings.retention_ms, 604_800_000);
    }

    #[test]
    fn a_variable_that_breaks_its_rule_is_named() {
        for (name, value) in [
            ("SANDBOX_MAX_KEEPALIVE", "6 hours"),
            ("SANDBOX_HEARTBEAT", "0s"),
            ("SANDBOX_KEPT_LOG", "64MB"),
            ("SANDBOX_RETENTION", "a week"),
        ] {
            let read = Settings::read(|asked| (asked == name).then(|| value.to_owned()));
            assert!(read.unwrap_err().error.contains(name), "{name}");
        }
    }
}
