//! A condition as it comes, with everything that any kind of it may have.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::log::Selection;

/// A condition as it comes: exactly one of `port`, `log`, `regex`, `exit`, `exec`, `file`, `all`, `any`,
/// with what belongs to it. As the body of `POST …/wait` it also has `timeoutMs`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(
    feature = "openapi",
    derive(schemars::JsonSchema),
    schemars(transform = crate::openapi::rules::condition_request)
)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ConditionRequest {
    /// A port that something of the tree listens on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u32>,
    /// How the port is probed; HTTP by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<PortMode>,
    /// The path of an HTTP probe; `/` by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Which statuses of an HTTP probe are good; 200 to 399 by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<StatusRange>,
    /// The pause between two probes of a port or by a command, in milliseconds; 100 by default. For a file: how
    /// often it is looked for besides, where the kernel does not tell of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval_ms: Option<u64>,
    /// A text that a line contains.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
    /// A regular expression, RE2 syntax, that a line matches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub regex: Option<String>,
    /// Which streams are looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<Selection>,
    /// `true`: the process's end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit: Option<bool>,
    /// A command that exits 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exec: Option<Vec<String>>,
    /// A file that exists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Every one of these.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub all: Option<Vec<ConditionRequest>>,
    /// The first of these.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub any: Option<Vec<ConditionRequest>>,
    /// How long to wait, in milliseconds; of the whole wait, not of a part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
}

/// How a port is probed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum PortMode {
    /// By a GET whose status is in the range.
    #[default]
    Http,
    /// By a connection.
    Tcp,
}

/// The statuses of a good HTTP probe: one number, or a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(untagged, deny_unknown_fields)]
pub enum StatusRange {
    /// Exactly this one.
    Exactly(u16),
    /// From `min` to `max`, both included.
    Between {
        /// The lowest.
        min: u16,
        /// The highest.
        max: u16,
    },
}

impl StatusRange {
    /// Whether `status` is good.
    #[must_use]
    pub const fn contains(self, status: u16) -> bool {
        match self {
            Self::Exactly(only) => status == only,
            Self::Between { min, max } => min <= status && status <= max,
        }
    }
}

impl Default for StatusRange {
    fn default() -> Self {
        Self::Between { min: 200, max: 399 }
    }
}

// An untagged enum takes a list for an object, and has no word about what is wrong.
impl<'de> Deserialize<'de> for StatusRange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Range {
            min: u16,
            max: u16,
        }
        struct NumberOrRange;
        impl<'de> Visitor<'de> for NumberOrRange {
            type Value = StatusRange;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a status, or {\"min\": n, \"max\": n}")
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<StatusRange, E> {
                let status = u16::try_from(number);
                status
                    .map(StatusRange::Exactly)
                    .map_err(|_| E::invalid_value(de::Unexpected::Unsigned(number), &self))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<StatusRange, A::Error> {
                let Range { min, max } = Range::deserialize(MapAccessDeserializer::new(map))?;
                Ok(StatusRange::Between { min, max })
            }
        }
        deserializer.deserialize_any(NumberOrRange)
    }
}
