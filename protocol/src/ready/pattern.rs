//! What is looked for in a log.

use serde::{Deserialize, Serialize};

use crate::error::ErrorBody;
use crate::log::Selection;
use crate::request::invalid;

/// What is looked for in a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// The text or the expression.
    pub needle: Needle,
    /// Which streams are looked at.
    pub stream: Selection,
}

/// What a line is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Needle {
    /// A text that the line contains.
    Text(String),
    /// A regular expression that it matches; its syntax is checked where it is compiled.
    Regex(String),
}

/// `until` of a build, as it comes: `log` or `regex`, and `stream`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(
    feature = "openapi",
    derive(schemars::JsonSchema),
    schemars(transform = crate::openapi::rules::pattern_request)
)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct PatternRequest {
    /// A text that a line contains.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
    /// A regular expression that a line matches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub regex: Option<String>,
    /// Which streams are looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<Selection>,
}

impl PatternRequest {
    /// Takes exactly one of the two. The error names `field`.
    pub fn validate(&self, field: &str) -> Result<Pattern, ErrorBody> {
        let needle = match (&self.log, &self.regex) {
            (Some(text), None) if !text.is_empty() => Needle::Text(text.clone()),
            (None, Some(regex)) if !regex.is_empty() => Needle::Regex(regex.clone()),
            (Some(_), Some(_)) | (None, None) => {
                return Err(invalid(field, "give log or regex, one of them"));
            }
            _ => return Err(invalid(field, "the text to look for is empty")),
        };
        Ok(Pattern {
            needle,
            stream: self.stream.unwrap_or_default(),
        })
    }
}
