//! The Worker's variables (`[vars]` in wrangler.toml), read and checked: those that the object goes by, and how
//! each kind is read.

use sandbox_protocol::error::{ErrorBody, ErrorCode};
use sandbox_protocol::sandbox::SleepAfter;
use worker::{Env, Url, js_sys};

use crate::error::Result;

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
    /// Whether containers are Docker's, which keeps in its list what ended by itself (`make dev`).
    pub(crate) docker: bool,
    /// Where sandboxes run without containers (`make dev`).
    pub(crate) local_engine: Option<LocalEngine>,
}

/// A running `sandbox-supervisor engine`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LocalEngine {
    /// Its address, without a slash at the end.
    pub(crate) url: String,
    /// What it demands of its callers, made per run.
    pub(crate) secret: String,
}

impl Settings {
    /// Reads the variables that `lookup` finds. The error names the variable and its rule.
    pub(crate) fn read(lookup: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let hours = |count: u64| count * 3_600_000;
        Ok(Self {
            max_keep_alive_ms: duration(&lookup, "SANDBOX_MAX_KEEPALIVE", hours(6))?,
            reattach_grace_ms: duration(&lookup, "SANDBOX_REATTACH_GRACE", 30_000)?,
            heartbeat_ms: heartbeat(&lookup)?,
            kept_log_bytes: bytes(&lookup, "SANDBOX_KEPT_LOG", 64 << 20)?,
            retention_ms: duration(&lookup, "SANDBOX_RETENTION", hours(7 * 24))?,
            docker: switch(&lookup, "SANDBOX_DOCKER")?,
            local_engine: local_engine(&lookup)?,
        })
    }

    /// Reads the variables of `env`.
    pub(crate) fn from_env(env: &Env) -> Result<Self> {
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

/// Reads a switch; off where it is absent.
pub(crate) fn switch(lookup: impl Fn(&str) -> Option<String>, name: &str) -> Result<bool> {
    match lookup(name).as_deref() {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(misconfigured(name, "\"true\" or \"false\"")),
    }
}

/// The error of a variable that breaks its rule.
pub(crate) fn misconfigured(name: &str, rule: &str) -> ErrorBody {
    ErrorBody::new(
        ErrorCode::InternalError,
        format!("this deployment is misconfigured: {name} must be {rule}"),
    )
}

fn duration(lookup: impl Fn(&str) -> Option<String>, name: &str, default_ms: u64) -> Result<u64> {
    let Some(text) = lookup(name) else {
        return Ok(default_ms);
    };
    match SleepAfter::parse(&text) {
        Some(SleepAfter(ms)) if ms > 0 => Ok(ms),
        _ => Err(misconfigured(
            name,
            "a duration like \"30s\", \"10m\" or \"6h\"",
        )),
    }
}

/// The supervisor is told it, and takes an hour at most.
fn heartbeat(lookup: impl Fn(&str) -> Option<String>) -> Result<u64> {
    const NAME: &str = "SANDBOX_HEARTBEAT";
    let ms = duration(lookup, NAME, 10_000)?;
    if ms <= 3_600_000 {
        return Ok(ms);
    }
    Err(misconfigured(
        NAME,
        "a duration like \"30s\" or \"1m\", at most an hour",
    ))
}

fn bytes(lookup: impl Fn(&str) -> Option<String>, name: &str, default: u64) -> Result<u64> {
    let Some(text) = lookup(name) else {
        return Ok(default);
    };
    match text.parse() {
        Ok(bytes) if bytes > 0 => Ok(bytes),
        _ => Err(misconfigured(name, "a number of bytes like \"67108864\"")),
    }
}

fn local_engine(lookup: impl Fn(&str) -> Option<String>) -> Result<Option<LocalEngine>> {
    let Some(url) = lookup("LOCAL_ENGINE_URL") else {
        return Ok(None);
    };
    if !Url::parse(&url).is_ok_and(|parsed| parsed.scheme() == "http") {
        return Err(misconfigured(
            "LOCAL_ENGINE_URL",
            "a URL like \"http://127.0.0.1:9000\"",
        ));
    }
    let secret = lookup("LOCAL_ENGINE_SECRET").ok_or_else(|| {
        misconfigured(
            "LOCAL_ENGINE_SECRET",
            "there where LOCAL_ENGINE_URL is: what the engine demands",
        )
    })?;
    Ok(Some(LocalEngine {
        url: url.trim_end_matches('/').to_owned(),
        secret,
    }))
}

#[cfg(test)]
mod tests {
    use super::Settings;

    #[test]
    fn what_is_absent_has_the_documented_default() {
        let settings = Settings::read(|_| None).unwrap();
        assert_eq!(settings.max_keep_alive_ms, 21_600_000);
        assert_eq!(settings.reattach_grace_ms, 30_000);
        assert_eq!(settings.heartbeat_ms, 10_000);
        assert_eq!(settings.kept_log_bytes, 67_108_864);
        assert_eq!(settings.retention_ms, 604_800_000);
        assert!(!settings.docker);
        assert_eq!(settings.local_engine, None);
    }

    #[test]
    fn what_wrangler_toml_says_is_the_default() {
        let documented = include_str!("../wrangler.toml");
        let lookup = |name: &str| {
            let line = documented.lines().find(|line| line.starts_with(name))?;
            Some(line.split('"').nth(1)?.to_owned())
        };
        assert_eq!(
            lookup("SANDBOX_HEARTBEAT").as_deref(),
            Some("10s"),
            "it is read"
        );
        assert_eq!(Settings::read(lookup), Settings::read(|_| None));
    }

    #[test]
    fn a_variable_that_breaks_its_rule_is_named_with_the_rule() {
        for (name, value, rule) in [
            ("SANDBOX_MAX_KEEPALIVE", "6 hours", "a duration"),
            ("SANDBOX_REATTACH_GRACE", "-30s", "a duration"),
            ("SANDBOX_HEARTBEAT", "0s", "a duration"),
            ("SANDBOX_KEPT_LOG", "64MB", "a number of bytes"),
            ("SANDBOX_KEPT_LOG", "0", "a number of bytes"),
            ("SANDBOX_RETENTION", "a week", "a duration"),
            ("SANDBOX_RETENTION", "99999999999999999999h", "a duration"),
            ("SANDBOX_DOCKER", "yes", "\"true\" or \"false\""),
            ("LOCAL_ENGINE_URL", "127.0.0.1:9000", "a URL"),
        ] {
            let read = Settings::read(|asked| (asked == name).then(|| value.to_owned()));
            let said = read.unwrap_err().error;
            assert!(
                said.contains(&format!("{name} must be {rule}")),
                "{value}: {said}"
            );
        }
    }

    #[test]
    fn an_engine_without_its_secret_is_refused() {
        let url = "http://127.0.0.1:9000/".to_owned();
        let read = Settings::read(|name| (name == "LOCAL_ENGINE_URL").then(|| url.clone()));
        assert!(read.unwrap_err().error.contains("LOCAL_ENGINE_SECRET"));
        let settings = Settings::read(|name| match name {
            "LOCAL_ENGINE_URL" => Some(url.clone()),
            "LOCAL_ENGINE_SECRET" => Some("s".into()),
            _ => None,
        });
        let engine = settings.unwrap().local_engine.unwrap();
        assert_eq!(
            (engine.url.as_str(), engine.secret.as_str()),
            ("http://127.0.0.1:9000", "s")
        );
    }
}
