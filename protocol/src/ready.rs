//! Conditions that a process can be waited for.

use serde::{Deserialize, Serialize};

use crate::error::{ErrorBody, ErrorCode};
use crate::log::{Selection, Stream};
use crate::process::{DEFAULT_WAIT_MS, ExitReason, check_duration};
use crate::request::invalid;
use crate::signal::Signal;

/// The pause between two probes when the caller does not say, in milliseconds.
const DEFAULT_INTERVAL_MS: u64 = 100;

/// How deep `all` and `any` may nest.
const MAX_DEPTH: usize = 4;

/// A condition as it comes: exactly one of `port`, `log`, `regex`, `exit`, `exec`, `file`, `all`, `any`,
/// with what belongs to it. As the body of `POST …/wait` it also has `timeoutMs`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
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
#[serde(rename_all = "camelCase")]
pub enum PortMode {
    /// By a GET whose status is in the range.
    #[default]
    Http,
    /// By a connection.
    Tcp,
}

/// The statuses of a good HTTP probe: one number, or a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
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

/// A condition that was checked.
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    /// A listener on a port.
    Port(PortCheck),
    /// A line of the log.
    Log(Pattern),
    /// The process's end.
    Exit,
    /// A command that exits 0.
    Exec(ExecCheck),
    /// A file that exists.
    File(FileCheck),
    /// Every one of these.
    All(Vec<Condition>),
    /// The first of these.
    Any(Vec<Condition>),
}

/// A port to probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortCheck {
    /// The port.
    pub port: u16,
    /// How it is probed.
    pub mode: PortMode,
    /// The path of an HTTP probe.
    pub path: String,
    /// Which statuses are good.
    pub status: StatusRange,
    /// The pause between two probes, in milliseconds.
    pub interval_ms: u64,
}

/// A command to probe with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecCheck {
    /// The words; at least one.
    pub argv: Vec<String>,
    /// The pause between two runs, in milliseconds.
    pub interval_ms: u64,
}

/// A file to wait for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileCheck {
    /// Its path; relative to the process's folder.
    pub path: String,
    /// How often it is looked for besides, in milliseconds; `None` relies on the kernel to tell of it.
    pub interval_ms: Option<u64>,
}

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

impl ConditionRequest {
    /// Checks a condition. The error names the field below `field`.
    pub fn validate(&self, field: &str) -> Result<Condition, ErrorBody> {
        if self.timeout_ms.is_some() {
            return Err(invalid(
                &below(field, "timeoutMs"),
                "belongs to the whole wait",
            ));
        }
        self.condition(field, MAX_DEPTH)
    }

    /// Checks the body of `POST …/wait`: the condition and how long to wait for it, in milliseconds.
    pub fn validate_wait(&self) -> Result<(Condition, u64), ErrorBody> {
        let timeout_ms = self.timeout_ms.unwrap_or(DEFAULT_WAIT_MS);
        check_duration("timeoutMs", timeout_ms)?;
        Ok((self.condition("", MAX_DEPTH)?, timeout_ms))
    }

    fn condition(&self, field: &str, depth: usize) -> Result<Condition, ErrorBody> {
        let given = [
            self.port.is_some(),
            self.log.is_some(),
            self.regex.is_some(),
            self.exit.is_some(),
            self.exec.is_some(),
            self.file.is_some(),
            self.all.is_some(),
            self.any.is_some(),
        ];
        if given.iter().filter(|given| **given).count() != 1 {
            let rule = "give exactly one of port, log, regex, exit, exec, file, all, any";
            return Err(if field.is_empty() {
                ErrorBody::new(ErrorCode::ValidationFailed, rule)
            } else {
                invalid(field, rule)
            });
        }
        self.check_companions(field)?;
        if let Some(port) = self.port {
            return self.port_check(field, port).map(Condition::Port);
        }
        if self.log.is_some() || self.regex.is_some() {
            let pattern = PatternRequest {
                log: self.log.clone(),
                regex: self.regex.clone(),
                stream: self.stream,
            };
            return pattern.validate(&below(field, "log")).map(Condition::Log);
        }
        if let Some(exit) = self.exit {
            let asked = exit.then_some(Condition::Exit);
            return asked.ok_or_else(|| invalid(&below(field, "exit"), "expected true"));
        }
        if let Some(argv) = &self.exec {
            if argv.first().is_none_or(String::is_empty) {
                return Err(invalid(&below(field, "exec"), "expected a command"));
            }
            return Ok(Condition::Exec(ExecCheck {
                argv: argv.clone(),
                interval_ms: self.interval().unwrap_or(DEFAULT_INTERVAL_MS),
            }));
        }
        if let Some(file) = &self.file {
            if file.is_empty() || file.contains('\0') {
                return Err(invalid(&below(field, "file"), "expected a path"));
            }
            return Ok(Condition::File(FileCheck {
                path: file.clone(),
                interval_ms: self.interval(),
            }));
        }
        let list = |name: &str, parts: &[Self]| {
            let field = below(field, name);
            if parts.is_empty() || depth == 0 {
                return Err(invalid(
                    &field,
                    "at least one condition, nested at most 4 deep",
                ));
            }
            let check = |(index, part): (usize, &Self)| {
                if part.timeout_ms.is_some() {
                    return Err(invalid(
                        &format!("{field}[{index}].timeoutMs"),
                        "belongs to the whole wait",
                    ));
                }
                part.condition(&format!("{field}[{index}]"), depth - 1)
            };
            parts
                .iter()
                .enumerate()
                .map(check)
                .collect::<Result<Vec<_>, _>>()
        };
        match (&self.all, &self.any) {
            (Some(all), _) => list("all", all).map(Condition::All),
            (_, any) => list("any", any.as_deref().unwrap_or_default()).map(Condition::Any),
        }
    }

    /// Refuses what belongs to another kind of condition, since ignoring it would hide a mistake.
    fn check_companions(&self, field: &str) -> Result<(), ErrorBody> {
        let of_port = [
            ("mode", self.mode.is_some()),
            ("path", self.path.is_some()),
            ("status", self.status.is_some()),
            ("intervalMs", self.interval_ms.is_some()),
        ];
        let stray = of_port
            .iter()
            .find(|(_, given)| *given && self.port.is_none());
        if let Some((name, _)) = stray {
            // A file and a command are probed too.
            let probed = self.exec.is_some() || self.file.is_some();
            if *name != "intervalMs" || !probed {
                return Err(invalid(&below(field, name), "belongs to port"));
            }
        }
        if self.stream.is_some() && self.log.is_none() && self.regex.is_none() {
            return Err(invalid(&below(field, "stream"), "belongs to log and regex"));
        }
        Ok(())
    }

    fn port_check(&self, field: &str, port: u32) -> Result<PortCheck, ErrorBody> {
        let port = u16::try_from(port)
            .ok()
            .filter(|port| *port > 0)
            .ok_or_else(|| {
                ErrorBody::new(
                    ErrorCode::InvalidPort,
                    format!("port {port} is not between 1 and 65535"),
                )
                .with(|context| context.field = Some(below(field, "port")))
            })?;
        let path = self.path.clone().unwrap_or_else(|| "/".to_owned());
        let printable = path.bytes().all(|byte| (0x21..0x7f).contains(&byte));
        if !path.starts_with('/') || !printable {
            return Err(invalid(
                &below(field, "path"),
                "a path starts with / and is percent-encoded",
            ));
        }
        Ok(PortCheck {
            port,
            mode: self.mode.unwrap_or_default(),
            path,
            status: self.status.unwrap_or_default(),
            interval_ms: self.interval().unwrap_or(DEFAULT_INTERVAL_MS),
        })
    }

    /// The pause that is asked for: at least 10 ms, at most a minute.
    fn interval(&self) -> Option<u64> {
        self.interval_ms.map(|ms| ms.clamp(10, 60_000))
    }
}

fn below(field: &str, name: &str) -> String {
    if field.is_empty() {
        name.to_owned()
    } else {
        format!("{field}.{name}")
    }
}

/// What was met: the 200 of `POST …/wait`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
pub enum Met {
    /// A line of the log.
    Log {
        /// The line, without its end.
        line: String,
        /// The whole match and its groups, for a regular expression.
        #[serde(rename = "match", default, skip_serializing_if = "Option::is_none")]
        groups: Option<Vec<Option<String>>>,
        /// Where it was printed.
        stream: Stream,
        /// Just after the output in which it was found.
        cursor: String,
    },
    /// A listener.
    Port {
        /// The port.
        port: u16,
        /// How it was probed.
        mode: PortMode,
        /// The status of the HTTP probe.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        status: Option<u16>,
        /// `unknown` where the kernel does not tell whose listener it is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        owner: Option<String>,
    },
    /// A command that exited 0.
    Exec {
        /// The command.
        exec: Vec<String>,
    },
    /// A file that exists.
    File {
        /// Its path.
        file: String,
    },
    /// Every one, in the order of the request.
    All {
        /// What each met.
        all: Vec<Met>,
    },
    /// The first.
    Any {
        /// What it met.
        any: Box<Met>,
        /// Which one of the request it was, from 0.
        index: usize,
    },
    /// The process's end.
    Exit {
        /// Its exit code; null when a signal ended it.
        exit_code: Option<i32>,
        /// The signal that ended it.
        signal: Option<Signal>,
        /// Why it ended.
        reason: ExitReason,
    },
}

#[cfg(test)]
mod tests {
    use super::{Condition, ConditionRequest};

    fn condition(json: &str) -> Result<Condition, String> {
        let request: ConditionRequest = serde_json::from_str(json).map_err(|e| e.to_string())?;
        request
            .validate_wait()
            .map(|(condition, _)| condition)
            .map_err(|e| e.error)
    }

    #[test]
    fn exactly_one_condition_is_given() {
        assert!(condition(r#"{"port":80}"#).is_ok());
        assert!(condition(r#"{"all":[{"port":80},{"any":[{"log":"x"},{"exit":true}]}]}"#).is_ok());
        assert!(condition(r#"{"port":80,"status":{"min":200,"max":204},"mode":"http"}"#).is_ok());
        assert!(condition(r#"{"port":80,"status":204}"#).is_ok());
        for bad in [
            "{}",
            r#"{"port":80,"log":"x"}"#,
            r#"{"port":0}"#,
            r#"{"port":70000}"#,
            r#"{"exit":false}"#,
            r#"{"all":[]}"#,
            r#"{"log":""}"#,
            r#"{"log":"x","path":"/"}"#,
            r#"{"port":80,"stream":"stdout"}"#,
            r#"{"port":80,"path":"health"}"#,
            r#"{"any":[{"exit":true,"timeoutMs":5}]}"#,
        ] {
            assert!(condition(bad).is_err(), "{bad}");
        }
    }
}
