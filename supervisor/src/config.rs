//! The configuration: the only reader of the environment and of the arguments.

mod command;
mod own;
mod token;
mod wipe;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use sandbox_protocol::routes::TOKEN_VARIABLE;

use crate::account::Account;
use crate::boot::BootId;

use own::Own;

pub use command::{Command, EngineConfig, SandboxConfig};
pub use token::Token;

/// How one supervisor is to run.
#[derive(Clone, Debug)]
pub struct Config {
    /// This boot's name.
    pub boot: BootId,
    /// What every call must show.
    pub token: Token,
    /// Where it listens.
    pub listen: Listen,
    /// The folder that clients know as the workspace.
    pub workspace: PathBuf,
    /// Where ledgers and the restart mark live; root's alone.
    pub state_dir: PathBuf,
    /// How long a stream may be quiet before a comment is sent on it.
    pub heartbeat: Duration,
    /// What it gives at most.
    pub limits: Limits,
    /// The unprivileged user of the sandbox; `None` where all run as whoever runs the supervisor.
    pub sandbox_user: Option<Account>,
    /// The variables that the container gives to everything in it; none of the supervisor's own.
    pub environment: BTreeMap<OsString, OsString>,
    /// Where the control groups of processes are made.
    pub cgroup: Cgroup,
    /// There is no private `/workspace` here: a path under it is refused with `INVALID_CWD`.
    pub workspace_unavailable: bool,
}

/// Where the supervisor listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// On this address; port 0 is any free one.
    Tcp(SocketAddr),
    /// On a socket at this path.
    Unix(PathBuf),
}

/// Where the control groups of processes are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cgroup {
    /// In our own group, if we are alone in it, as in a container.
    Own,
    /// In the group of this folder, which has no members. Whoever made it removes it.
    Folder(PathBuf),
    /// Nowhere.
    Off,
}

/// What the supervisor gives at most; told by `GET /limits`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Processes that run at the same time.
    pub processes: u64,
    /// Records of processes, the finished ones included.
    pub records: u64,
    /// Streams that are followed at the same time.
    pub subscribers: u64,
    /// Log of all processes on disk, in bytes.
    pub all_log_bytes: u64,
    /// Recent log of all processes in memory, in bytes.
    pub log_memory_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            processes: 1000,
            records: 1000,
            subscribers: 1000,
            all_log_bytes: 1 << 30,
            log_memory_bytes: 16 << 20,
        }
    }
}

/// A setting that cannot be used, and the rule that it breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    name: String,
    rule: String,
}

impl Invalid {
    /// The setting `name` breaks `rule`.
    pub fn new(name: impl Into<String>, rule: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            rule: rule.into(),
        }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.rule)
    }
}

impl std::error::Error for Invalid {}

impl Config {
    /// Reads the configuration from the variables of a container; those that are not the supervisor's own
    /// become [`Config::environment`].
    pub fn from_variables(mut variables: BTreeMap<OsString, OsString>) -> Result<Self, Invalid> {
        let own = Own::take(&mut variables)?;
        let boot =
            BootId::random().map_err(|error| Invalid::new("getrandom", error.to_string()))?;
        Ok(Self {
            boot,
            token: own
                .text(TOKEN_VARIABLE)
                .ok_or_else(|| Invalid::new(TOKEN_VARIABLE, "is required"))
                .and_then(|text| Token::new(TOKEN_VARIABLE, text.to_owned()))?,
            listen: own.listen()?,
            workspace: own.folder("SANDBOX_WORKSPACE", "/workspace")?,
            state_dir: own.folder("SANDBOX_STATE", "/var/lib/sandbox")?,
            heartbeat: own.duration("SANDBOX_HEARTBEAT", Duration::from_secs(10))?,
            limits: own.limits()?,
            sandbox_user: own.sandbox_user()?,
            cgroup: own.cgroup()?,
            environment: variables,
            workspace_unavailable: false,
        })
    }
}

/// Forbids other processes of this user to look into this one: its memory holds the token.
pub fn seal() -> Result<(), Invalid> {
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
        .map_err(|error| Invalid::new("PR_SET_DUMPABLE", error.to_string()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Config, Listen};

    const TOKEN: (&str, &str) = ("SANDBOX_TOKEN", "0123456789abcdef");

    fn config(pairs: &[(&str, &str)]) -> Result<Config, String> {
        let variables = pairs.iter().map(|(k, v)| ((*k).into(), (*v).into()));
        Config::from_variables(variables.collect()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_setting_that_cannot_be_used_is_named() {
        for (name, value) in [
            ("SANDBOX_PORT", "65536"),
            ("SANDBOX_PORT", ""),
            ("SANDBOX_SOCKET", "relative"),
            ("SANDBOX_WORKSPACE", "workspace"),
            ("SANDBOX_CGROUP", "relative"),
            ("SANDBOX_HEARTBEAT", "10"),
            ("SANDBOX_HEARTBEAT", "0s"),
            ("SANDBOX_HEARTBEAT", "61m"),
            ("SANDBOX_MAX_PROCESSES", "0"),
            ("SANDBOX_LOG_TOTAL", "-1"),
        ] {
            let error = config(&[TOKEN, (name, value)]).unwrap_err();
            assert!(error.starts_with(name), "{name}={value}: {error}");
        }
        assert!(config(&[]).unwrap_err().starts_with("SANDBOX_TOKEN"));
        assert!(config(&[("SANDBOX_TOKEN", "short")]).is_err());
    }

    #[test]
    fn what_is_not_ours_is_for_those_that_we_run() {
        let config = config(&[TOKEN, ("SANDBOX_HEARTBEAT", "250ms"), ("LANG", "C")]).unwrap();
        assert_eq!(config.environment, [("LANG".into(), "C".into())].into());
        assert_eq!(config.heartbeat, Duration::from_millis(250));
        assert_eq!(config.listen, Listen::Tcp(([0, 0, 0, 0], 9711).into()));
    }
}
