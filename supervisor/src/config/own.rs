//! The supervisor's own variables, each read by its rule.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use sandbox_protocol::routes::{SUPERVISOR_PORT, TOKEN_VARIABLE};

use super::{Cgroup, Invalid, Limits, Listen};
use crate::account::Account;

/// The variables that are the supervisor's own. What it runs sees none of them.
const OWN: [&str; 12] = [
    TOKEN_VARIABLE,
    "SANDBOX_PORT",
    "SANDBOX_SOCKET",
    "SANDBOX_WORKSPACE",
    "SANDBOX_STATE",
    "SANDBOX_HEARTBEAT",
    "SANDBOX_USER",
    "SANDBOX_CGROUP",
    "SANDBOX_MAX_PROCESSES",
    "SANDBOX_MAX_SUBSCRIBERS",
    "SANDBOX_LOG_TOTAL",
    "SANDBOX_LOG_MEMORY",
];

/// The supervisor's own variables, read one by one.
pub(super) struct Own(BTreeMap<&'static str, String>);

impl Own {
    /// Takes them out of `variables`.
    pub(super) fn take(variables: &mut BTreeMap<OsString, OsString>) -> Result<Self, Invalid> {
        let mut own = BTreeMap::new();
        for name in OWN {
            if let Some(value) = variables.remove(OsStr::new(name)) {
                let value = value
                    .into_string()
                    .map_err(|_| Invalid::new(name, "is not UTF-8"))?;
                own.insert(name, value);
            }
        }
        Ok(Self(own))
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub(super) fn listen(&self) -> Result<Listen, Invalid> {
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

    pub(super) fn folder(&self, name: &'static str, default: &str) -> Result<PathBuf, Invalid> {
        absolute(name, self.text(name).unwrap_or(default))
    }

    pub(super) fn duration(
        &self,
        name: &'static str,
        default: Duration,
    ) -> Result<Duration, Invalid> {
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

    pub(super) fn number(
        &self,
        name: &'static str,
        default: u64,
        least: u64,
    ) -> Result<u64, Invalid> {
        let Some(text) = self.text(name) else {
            return Ok(default);
        };
        match text.parse() {
            Ok(number) if number >= least => Ok(number),
            _ => Err(Invalid::new(name, format!("is a number, at least {least}"))),
        }
    }

    pub(super) fn limits(&self) -> Result<Limits, Invalid> {
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

    /// Our own by default, none where it is empty.
    pub(super) fn cgroup(&self) -> Result<Cgroup, Invalid> {
        match self.text("SANDBOX_CGROUP") {
            None => Ok(Cgroup::Own),
            Some("") => Ok(Cgroup::Off),
            Some(path) => absolute("SANDBOX_CGROUP", path).map(Cgroup::Folder),
        }
    }

    /// `sandbox` by default. Only root can be another user, so without it everything runs as whoever runs us.
    pub(super) fn sandbox_user(&self) -> Result<Option<Account>, Invalid> {
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
