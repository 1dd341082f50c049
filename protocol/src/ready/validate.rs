//! From the condition as it comes to the one that can be waited for.

use super::{Condition, ConditionRequest, ExecCheck, FileCheck, PatternRequest, PortCheck};
use crate::error::{ErrorBody, ErrorCode};
use crate::process::{DEFAULT_WAIT_MS, check_duration};
use crate::request::invalid;

/// The pause between two probes when the caller does not say, in milliseconds.
const DEFAULT_INTERVAL_MS: u64 = 100;

/// How deep `all` and `any` may nest.
const MAX_DEPTH: usize = 4;

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
