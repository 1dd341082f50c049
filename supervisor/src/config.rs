//! The configuration: the only reader of the environment and of the arguments.

mod command;
mod wipe;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use sandbox_protocol::routes::{SUPERVISOR_PORT, TOKEN_VARIABLE};

use crate::account::Account;
use crate::boot::BootId;

pub use command::{Command, EngineConfig, SandboxConfig};

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

/// A bearer token. It is compared in constant time and never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// Takes `text` as a token: 16 or more visible ASCII characters. `name` is what it is called in an error.
    pub fn new(name: &str, text: String) -> Result<Self, Invalid> {
        if text.len() < 16 || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Invalid::new(
                name,
                "is at least 16 visible ASCII characters",
            ));
        }
        Ok(Self(text))
    }

    /// Whether `shown` is this token. Takes the same time wherever they differ.
    #[must_use]
    pub fn is(&self, shown: &[u8]) -> bool {
        let mut difference = u8::from(shown.len() != self.0.len());
        for (index, byte) in self.0.bytes().enumerate() {
            difference |= byte ^ shown.get(index).copied().unwrap_or(0);
        }
        // The optimizer must not find out that a difference, once there, stays.
        std::hint::black_box(difference) == 0
    }

    /// The token itself, to hand on.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
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

/// The variables that are the supervisor's own. What it runs sees none of them.
const OWN: [&str; 11] = [
    TOKEN_VARIABLE,
    "SANDBOX_PORT",
    "SANDBOX_SOCKET",
    "SANDBOX_WORKSPACE",
    "SANDBOX_STATE",
    "SANDBOX_HEARTBEAT",
    "SANDBOX_USER",
    "SANDBOX_MAX_PROCESSES",
    "SANDBOX_MAX_SUBSCRIBERS",
    "SANDBOX_LOG_TOTAL",
    "SANDBOX_LOG_MEMORY",
];

impl Config {
    /// Reads the configuration from the variables of a container; those that are not the supervisor's own
    /// become [`Config::environment`].
    pub fn from_variables(mut variables: BTreeMap<OsString, OsString>) -> Result<Self, Invalid> {
        let mut own = BTreeMap::new();
        for name in OWN {
            if let Some(value) = variables.remove(OsStr::new(name)) {
                let value = value
                    .into_string()
                    .map_err(|_| Invalid::new(name, "is not UTF-8"))?;
                own.insert(name, value);
            }
        }
        let own = Own(own);
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

/// The supervisor's own variables, read one by one.
struct Own(BTreeMap<&'static str, String>);

impl Own {
    fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    fn listen(&self) -> Result<Listen, Invalid> {
        if let Some(path) = self.text("SANDBOX_SOCKET") {
            return absolute("SANDBOX_SOCKET", path).map(Listen::Unix);
        }
        let port = match self.text("SANDBOX_PORT") {
            None => SUPERVISOR_PORT,
            Some(text) => text
                .parse()
                .map_err(|_| Invalid::new("SANDBOX_PORT", "is a port, 0 to 65535"))?,
        };
        // The platform dials the container's own address, so loopback alone would not do.
        Ok(Listen::Tcp((Ipv4Addr::UNSPECIFIED, port).into()))
    }

    fn folder(&self, name: &'static str, default: &str) -> Result<PathBuf, Invalid> {
        absolute(name, self.text(name).unwrap_or(default))
    }

    fn duration(&self, name: &'static str, default: Duration) -> Result<Duration, Invalid> {
        let Some(text) = self.text(name) else {
            return Ok(default);
        };
        let unit = text
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len());
        let (number, unit) = text.split_at(unit);
        let unit_ms = match unit {
            "ms" => Some(1),
            "s" => Some(1000),
            "m" => Some(60_000),
            _ => None,
        };
        let ms = unit_ms.and_then(|unit| number.parse::<u64>().ok()?.checked_mul(unit));
        match ms {
            Some(ms @ 1..=3_600_000) => Ok(Duration::from_millis(ms)),
            _ => Err(Invalid::new(
                name,
                "is a duration like 500ms, 10s or 2m, at most an hour",
            )),
        }
    }

    fn number(&self, name: &'static str, default: u64, least: u64) -> Result<u64, Invalid> {
        let Some(text) = self.text(name) else {
            return Ok(default);
        };
        match text.parse() {
            Ok(number) if number >= least => Ok(number),
            _ => Err(Invalid::new(name, format!("is a number, at least {least}"))),
        }
    }

    fn limits(&self) -> Result<Limits, Invalid> {
        let default = Limits::default();
        Ok(Limits {
            processes: self.number("SANDBOX_MAX_PROCESSES", default.processes, 1)?,
            subscribers: self.number("SANDBOX_MAX_SUBSCRIBERS", default.subscribers, 1)?,
            all_log_bytes: self.number("SANDBOX_LOG_TOTAL", default.all_log_bytes, 1 << 20)?,
            log_memory_bytes: self.number(
                "SANDBOX_LOG_MEMORY",
                default.log_memory_bytes,
                1 << 20,
            )?,
            records: default.records,
        })
    }

    /// `sandbox` by default. Only root can be another user, so without it everything runs as whoever runs us.
    fn sandbox_user(&self) -> Result<Option<Account>, Invalid> {
        let name = self.text("SANDBOX_USER");
        if !rustix::process::geteuid().is_root() || name == Some("") {
            return Ok(None);
        }
        let account = Account::named(name.unwrap_or("sandbox"))
            .map_err(|error| Invalid::new("SANDBOX_USER", format!("/etc/passwd: {error}")))?;
        match (account, name) {
            (Some(account), _) => Ok(Some(account)),
            (None, Some(name)) => Err(Invalid::new(
                "SANDBOX_USER",
                format!("there is no user {name}"),
            )),
            (None, None) => {
                eprintln!("supervisor: there is no user `sandbox`: everything runs as root");
                Ok(None)
            }
        }
    }
}

fn absolute(name: &'static str, path: &str) -> Result<PathBuf, Invalid> {
    if !path.starts_with('/') {
        return Err(Invalid::new(name, "is an absolute path"));
    }
    Ok(PathBuf::from(path))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Config, Listen, Token};

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

    #[test]
    fn a_token_is_itself_only_and_never_printed() {
        let token = Token::new("token", TOKEN.1.to_owned()).unwrap();
        assert!(token.is(b"0123456789abcdef"));
        for other in [
            "",
            "0123456789abcde",
            "0123456789abcdef0",
            "0123456789abcdeF",
        ] {
            assert!(!token.is(other.as_bytes()), "{other}");
        }
        assert!(!format!("{token:?}").contains("0123"));
    }
}
