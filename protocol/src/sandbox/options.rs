//! What a caller may set of a sandbox.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::error::ErrorBody;
use crate::process::{Environment, check_environment};
use crate::request::invalid;

/// How long an idle sandbox is kept when nobody says: 10 min.
pub const DEFAULT_SLEEP_AFTER_MS: u64 = 600_000;

/// The body of `POST /v1/sandbox` and `PATCH /v1/sandbox/{id}`: what is absent stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(
    feature = "openapi",
    derive(schemars::JsonSchema),
    schemars(transform = crate::openapi::rules::options_request)
)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct OptionsRequest {
    /// How long the sandbox may idle: `"10m"`, `"90s"`, `"2h"`, or seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sleep_after: Option<SleepAfter>,
    /// Whether it is kept although idle, and for how long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_alive: Option<KeepAliveRequest>,
    /// Variables of everything that runs in it; `null` takes one away.
    #[serde(skip_serializing_if = "Environment::is_empty")]
    pub env: Environment,
    /// Whether it reaches the internet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enable_internet: Option<bool>,
}

/// A duration as people write it, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(into = "String")]
pub struct SleepAfter(pub u64);

impl SleepAfter {
    /// Reads `"10m"`, `"90s"`, `"2h"`, and `"250ms"`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let units = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)];
        let (number, unit_ms) = units
            .into_iter()
            .find_map(|(unit, ms)| Some((text.strip_suffix(unit)?, ms)))?;
        // `parse` would take a sign.
        let digits = number.bytes().all(|byte| byte.is_ascii_digit());
        let number: u64 = digits.then(|| number.parse().ok())??;
        Some(Self(number.checked_mul(unit_ms)?))
    }
}

impl From<SleepAfter> for String {
    fn from(SleepAfter(ms): SleepAfter) -> Self {
        format!("{}s", ms.div_ceil(1000))
    }
}

impl<'de> Deserialize<'de> for SleepAfter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Seconds(u64),
            Text(String),
        }
        let rule = "expected a duration like \"10m\", \"90s\", \"2h\", or a number of seconds";
        let read = match Written::deserialize(deserializer) {
            Ok(Written::Seconds(seconds)) => seconds.checked_mul(1000).map(Self),
            Ok(Written::Text(text)) => Self::parse(&text),
            Err(_) => None,
        };
        read.ok_or_else(|| serde::de::Error::custom(rule))
    }
}

/// `true`, `false`, or `{"maxMs": n}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(
    feature = "openapi",
    derive(schemars::JsonSchema),
    schemars(transform = crate::openapi::rules::keep_alive_request)
)]
#[serde(untagged, deny_unknown_fields)]
pub enum KeepAliveRequest {
    /// Up to the ceiling, or not at all.
    Switch(bool),
    /// So long at most.
    Lease {
        /// Milliseconds, from the container's start or from the call, whichever is later.
        #[serde(rename = "maxMs")]
        max_ms: u64,
    },
}

// An untagged enum takes a list for an object, and fields that it does not know.
impl<'de> Deserialize<'de> for KeepAliveRequest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        struct Lease {
            max_ms: u64,
        }
        struct SwitchOrLease;
        impl<'de> Visitor<'de> for SwitchOrLease {
            type Value = KeepAliveRequest;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true, false or {\"maxMs\": n}")
            }

            fn visit_bool<E: de::Error>(self, on: bool) -> Result<KeepAliveRequest, E> {
                Ok(KeepAliveRequest::Switch(on))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<KeepAliveRequest, A::Error> {
                let Lease { max_ms } = Lease::deserialize(MapAccessDeserializer::new(map))?;
                Ok(KeepAliveRequest::Lease { max_ms })
            }
        }
        deserializer.deserialize_any(SwitchOrLease)
    }
}

impl OptionsRequest {
    /// Checks the options. The error names the field.
    pub fn validate(&self) -> Result<(), ErrorBody> {
        check_environment("env", &self.env)?;
        if let Some(SleepAfter(ms)) = self.sleep_after
            && !(1000..=crate::process::MAX_DURATION_MS).contains(&ms)
        {
            return Err(invalid("sleepAfter", "between 1 second and 30 days"));
        }
        if self.keep_alive == Some(KeepAliveRequest::Lease { max_ms: 0 }) {
            return Err(invalid("keepAlive.maxMs", "at least 1"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{KeepAliveRequest, OptionsRequest, SleepAfter};
    use crate::request::parse;

    fn options(json: &str) -> Result<OptionsRequest, crate::error::ErrorBody> {
        let options: OptionsRequest = parse(&mut serde_json::Deserializer::from_str(json))?;
        options.validate().map(|()| options)
    }

    #[test]
    fn a_duration_is_written_as_people_write_it() {
        for (text, ms) in [
            (r#""10m""#, 600_000),
            (r#""90s""#, 90_000),
            (r#""2h""#, 7_200_000),
            ("30", 30_000),
        ] {
            let read = options(&format!(r#"{{"sleepAfter":{text}}}"#)).unwrap();
            assert_eq!(read.sleep_after, Some(SleepAfter(ms)));
        }
        for bad in [
            r#""10""#, r#""+5m""#, r#""m""#, "-1", r#""1d""#, "0", r#""-5s""#, "true",
        ] {
            let error = options(&format!(r#"{{"sleepAfter":{bad}}}"#)).unwrap_err();
            assert_eq!(error.context.field.as_deref(), Some("sleepAfter"), "{bad}");
        }
    }

    #[test]
    fn keep_alive_is_a_switch_or_a_lease() {
        for (json, want) in [
            ("true", KeepAliveRequest::Switch(true)),
            (r#"{"maxMs":5}"#, KeepAliveRequest::Lease { max_ms: 5 }),
        ] {
            assert_eq!(
                options(&format!(r#"{{"keepAlive":{json}}}"#))
                    .unwrap()
                    .keep_alive,
                Some(want)
            );
        }
        for bad in [r#""yes""#, r#"{"maxMs":0}"#, r#"{"max":1}"#] {
            assert!(
                options(&format!(r#"{{"keepAlive":{bad}}}"#)).is_err(),
                "{bad}"
            );
        }
    }
}
