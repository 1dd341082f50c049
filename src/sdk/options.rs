//! What a caller may say beyond the command: options, each with the protocol's default.

use sandbox_protocol::build::{BuildRequest, OnDisconnect};
use sandbox_protocol::error::ErrorBody;
use sandbox_protocol::exec::ExecRequest;
use sandbox_protocol::id::{PROCESS_ID_RULE, ProcessId};
use sandbox_protocol::process::{Environment, ProcessRequest, Restart, Stderr, Stdin};
use sandbox_protocol::ready::PatternRequest;
use sandbox_protocol::request::invalid;
use sandbox_protocol::sandbox::{KeepAliveRequest, OptionsRequest, SleepAfter};

use super::PortCheck;

/// Options of a sandbox. What is not said stays as it is; they outlive the container.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct SandboxOptions(OptionsRequest);

impl SandboxOptions {
    /// No change.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether the sandbox is kept although idle, up to the deployment's ceiling.
    pub fn keep_alive(mut self, keep: bool) -> Self {
        self.0.keep_alive = Some(KeepAliveRequest::Switch(keep));
        self
    }

    /// Keeps the sandbox although idle, for at most `ms` milliseconds.
    pub fn keep_alive_for_ms(mut self, ms: u64) -> Self {
        self.0.keep_alive = Some(KeepAliveRequest::Lease { max_ms: ms });
        self
    }

    /// How long it may idle, in milliseconds.
    pub fn sleep_after_ms(mut self, ms: u64) -> Self {
        self.0.sleep_after = Some(SleepAfter(ms));
        self
    }

    /// A variable of everything that is started in it from now on.
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.0.env.insert(name.into(), Some(value.into()));
        self
    }

    /// Whether it reaches the internet.
    pub fn enable_internet(mut self, enable: bool) -> Self {
        self.0.enable_internet = Some(enable);
        self
    }

    /// The request that sets them; `None` if there is nothing to set.
    pub(super) fn into_request(self) -> Option<OptionsRequest> {
        (self.0 != OptionsRequest::default()).then_some(self.0)
    }
}

macro_rules! command_options {
    ($name:ident) => {
        impl $name {
            /// The defaults.
            pub fn new() -> Self {
                Self::default()
            }

            /// The working directory; relative to `/workspace`, which is the default.
            pub fn cwd(mut self, cwd: impl Into<String>) -> Self {
                self.0.cwd = Some(cwd.into());
                self
            }

            /// A variable.
            pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
                let env: &mut Environment = &mut self.0.env;
                env.insert(name.into(), Some(value.into()));
                self
            }

            /// Takes a variable of the container or the sandbox away.
            pub fn unset(mut self, name: impl Into<String>) -> Self {
                self.0.env.insert(name.into(), None);
                self
            }
        }
    };
}

/// Options of a process.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct ProcessOptions(ProcessRequest, Option<String>);

command_options!(ProcessOptions);

impl ProcessOptions {
    /// A name, which makes the start idempotent. The start refuses one that breaks the rule.
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.1 = Some(id.into());
        self
    }

    /// The lifetime, in milliseconds.
    pub fn timeout_ms(mut self, ms: u64) -> Self {
        self.0.timeout_ms = ms;
        self
    }

    /// Lets it read what is sent to it.
    pub fn stdin(mut self) -> Self {
        self.0.stdin = Stdin::Pipe;
        self
    }

    /// Sends its standard error where its output goes, so that their order is exact.
    pub fn merge_stderr(mut self) -> Self {
        self.0.stderr = Stderr::Merge;
        self
    }

    /// The user that it runs as.
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.0.user = Some(user.into());
        self
    }

    /// Starts it again when it ends.
    pub fn restart(mut self, restart: Restart) -> Self {
        self.0.restart = Some(restart);
        self
    }

    /// How much memory its tree may have, in bytes; with more it is ended, reason `oom`.
    pub fn memory_bytes(mut self, bytes: u64) -> Self {
        self.0.limits.memory_bytes = bytes;
        self
    }

    /// How many processes its tree may have; with more it is ended, reason `processLimit`.
    pub fn max_processes(mut self, count: u64) -> Self {
        self.0.limits.processes = count;
        self
    }

    /// How much of its log is kept, in bytes; the newest is.
    pub fn log_bytes(mut self, bytes: u64) -> Self {
        self.0.limits.log_bytes = bytes;
        self
    }

    /// Has the start wait until `port` is ready, or fail as [`wait_for_port`](super::Process::wait_for_port) does; the
    /// process is left running then, for the caller to inspect.
    pub fn ready(mut self, port: u16, check: PortCheck) -> Self {
        let mut condition = check.into_request(port);
        self.0.ready_timeout_ms = condition.timeout_ms.take();
        self.0.ready = Some(condition);
        self
    }

    pub(super) fn into_request(self, command: &str) -> Result<ProcessRequest, ErrorBody> {
        let id = self
            .1
            .as_deref()
            .map(|id| ProcessId::parse(id).ok_or_else(|| invalid("id", PROCESS_ID_RULE)));
        Ok(ProcessRequest {
            command: Some(command.to_owned()),
            id: id.transpose()?,
            ..self.0
        })
    }
}

/// Options of a one-time command.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct ExecOptions(ExecRequest);

command_options!(ExecOptions);

impl ExecOptions {
    /// How long it may run, in milliseconds.
    pub fn timeout_ms(mut self, ms: u64) -> Self {
        self.0.timeout_ms = Some(ms);
        self
    }

    /// The user that it runs as; `sandbox` by default.
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.0.user = Some(user.into());
        self
    }

    /// What it reads.
    pub fn stdin(mut self, text: impl Into<String>) -> Self {
        self.0.stdin = Some(text.into());
        self
    }

    pub(super) fn into_request(self, command: &str) -> ExecRequest {
        ExecRequest {
            command: Some(command.to_owned()),
            ..self.0
        }
    }
}

/// Options of a build.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct BuildOptions(BuildRequest);

command_options!(BuildOptions);

impl BuildOptions {
    /// The lifetime, in milliseconds; 1 h by default.
    pub fn timeout_ms(mut self, ms: u64) -> Self {
        self.0.timeout_ms = Some(ms);
        self
    }

    /// A text in a line of its output that means success.
    pub fn until_log(mut self, text: impl Into<String>) -> Self {
        self.0.until = Some(PatternRequest {
            log: Some(text.into()),
            ..PatternRequest::default()
        });
        self
    }

    /// Lets the build go on when nobody reads its stream any more; by default it is cancelled.
    pub fn continue_alone(mut self) -> Self {
        self.0.on_disconnect = Some(OnDisconnect::Continue);
        self
    }

    pub(super) fn into_request(self, command: &str) -> BuildRequest {
        BuildRequest {
            command: Some(command.to_owned()),
            ..self.0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ProcessOptions;

    #[test]
    fn a_process_id_that_breaks_the_rule_is_refused_and_not_dropped() {
        let refused = ProcessOptions::new().id("a b").into_request("true");
        assert_eq!(refused.unwrap_err().context.field.as_deref(), Some("id"));
        let request = ProcessOptions::new().id("a").into_request("true").unwrap();
        assert_eq!(request.id.unwrap().as_str(), "a");
    }
}
