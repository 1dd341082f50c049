//! What outlives the container and the isolate: the only user of the object's SQLite.
//!
//! Nothing is written, the tables not even made, before something must be remembered: looking at an id
//! that was never used leaves no trace.

mod builds;
mod events;
mod log;
mod processes;
mod scopes;
mod tickets;

use std::cell::Cell;

use sandbox_protocol::error::ErrorBody;
use sandbox_protocol::process::Environment;
use sandbox_protocol::sandbox::{DEFAULT_SLEEP_AFTER_MS, KeepAliveRequest, SandboxStatus};
use sandbox_protocol::time::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use worker::{SqlStorage, SqlStorageValue, State};

use crate::error::{Result, internal};
use crate::platform::now;
use crate::registry::Announcement;

pub(crate) use builds::BuildRow;
pub(crate) use processes::lost;

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS builds (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        final INTEGER NOT NULL,
        row TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS build_logs (
        build TEXT NOT NULL,
        piece INTEGER NOT NULL,
        from_cursor TEXT NOT NULL,
        to_cursor TEXT NOT NULL,
        raw_bytes INTEGER NOT NULL,
        packed BLOB NOT NULL,
        PRIMARY KEY (build, piece));
    CREATE TABLE IF NOT EXISTS processes (
        id TEXT PRIMARY KEY,
        generation INTEGER NOT NULL,
        row TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS events (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        row TEXT NOT NULL,
        once TEXT UNIQUE);
    CREATE TABLE IF NOT EXISTS tickets (
        ticket TEXT PRIMARY KEY,
        open_until INTEGER NOT NULL,
        stream TEXT);
    CREATE TABLE IF NOT EXISTS scopes (
        id TEXT PRIMARY KEY,
        ends_at INTEGER);
";

/// A sandbox's options, which outlive its container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Options {
    pub(crate) sleep_after_ms: u64,
    pub(crate) keep_alive: KeepAliveRequest,
    pub(crate) env: Environment,
    pub(crate) enable_internet: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            sleep_after_ms: DEFAULT_SLEEP_AFTER_MS,
            keep_alive: KeepAliveRequest::Switch(false),
            env: Environment::new(),
            enable_internet: true,
        }
    }
}

/// The present or the latest life of the container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Life {
    /// Counts the lives; fences what belongs to an earlier one.
    pub(crate) generation: u64,
    pub(crate) status: SandboxStatus,
    /// What its supervisor demands.
    pub(crate) token: String,
    /// The boot of its supervisor, once it has answered.
    pub(crate) boot_id: Option<String>,
    pub(crate) started_at: Timestamp,
    pub(crate) last_activity_at: Timestamp,
    /// When a process was last seen running.
    pub(crate) last_busy_at: Option<Timestamp>,
    /// The end of the lease, if one was granted.
    pub(crate) lease_until: Option<Timestamp>,
}

/// The rows of one object.
pub(crate) struct Records {
    sql: SqlStorage,
    made: Cell<bool>,
}

impl Records {
    pub(crate) fn of(state: &State) -> Self {
        Self {
            sql: state.storage().sql(),
            made: Cell::new(false),
        }
    }

    /// Whether anything was ever written.
    pub(crate) fn exist(&self) -> Result<bool> {
        if !self.made.get() {
            let found = self.query(
                "SELECT name FROM sqlite_master WHERE name = 'facts'",
                vec![],
            )?;
            if !found.is_empty() {
                // An earlier version may have made fewer.
                self.exec(TABLES, vec![])?;
                self.made.set(true);
            }
        }
        Ok(self.made.get())
    }

    pub(crate) fn options(&self) -> Result<Options> {
        Ok(self.fact("options")?.unwrap_or_default())
    }

    pub(crate) fn set_options(&self, options: &Options) -> Result<()> {
        self.set_fact("options", options)
    }

    pub(crate) fn life(&self) -> Result<Option<Life>> {
        self.fact("life")
    }

    pub(crate) fn set_life(&self, life: &Life) -> Result<()> {
        self.set_fact("life", life)
    }

    /// What the sandbox last announced of itself, with success.
    pub(crate) fn announced(&self) -> Result<Option<Announcement>> {
        self.fact("told")
    }

    pub(crate) fn set_announced(&self, said: &Announcement) -> Result<()> {
        self.set_fact("told", said)
    }

    /// The limits that the last container said are in force, as it answered.
    pub(crate) fn limits(&self) -> Result<Option<serde_json::Value>> {
        self.fact("limits")
    }

    pub(crate) fn set_limits(&self, limits: &serde_json::Value) -> Result<()> {
        if self.limits()?.as_ref() == Some(limits) {
            return Ok(());
        }
        self.set_fact("limits", limits)
    }

    /// Whether there is a record of anything that happened.
    pub(crate) fn remember_something(&self) -> Result<bool> {
        let query =
            "SELECT 1 WHERE EXISTS (SELECT 1 FROM builds) OR EXISTS (SELECT 1 FROM processes)
                     OR EXISTS (SELECT 1 FROM events)";
        Ok(self.exist()? && !self.query(query, vec![])?.is_empty())
    }

    /// Forgets what ended more than `retention_ms` ago.
    pub(crate) fn forget_old(&self, retention_ms: u64) -> Result<()> {
        if !self.exist()? {
            return Ok(());
        }
        let then = now().minus_ms(retention_ms);
        self.forget_builds_before(then)?;
        self.forget_processes_before(then)?;
        self.forget_events_before(then)
    }

    fn fact<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let rows = self.rows("SELECT value FROM facts WHERE name = ?", vec![name.into()])?;
        Ok(rows.into_iter().next())
    }

    fn set_fact(&self, name: &str, value: &impl Serialize) -> Result<()> {
        self.write(
            "INSERT OR REPLACE INTO facts (name, value) VALUES (?, ?)",
            vec![name.into(), json(value)?.into()],
        )
    }

    fn rows<T: DeserializeOwned>(
        &self,
        query: &str,
        values: Vec<SqlStorageValue>,
    ) -> Result<Vec<T>> {
        if !self.exist()? {
            return Ok(Vec::new());
        }
        let parse = |row| match row {
            SqlStorageValue::String(text) => serde_json::from_str(&text)
                .map_err(|error| internal("a record could not be read", error)),
            other => Err(internal("a record could not be read", format!("{other:?}"))),
        };
        self.query(query, values)?.into_iter().map(parse).collect()
    }

    /// The first column of every row.
    fn query(&self, query: &str, values: Vec<SqlStorageValue>) -> Result<Vec<SqlStorageValue>> {
        let failed = |error| internal("the records could not be read", error);
        let cursor = self.sql.exec(query, values).map_err(failed)?;
        let first = |row: worker::Result<Vec<SqlStorageValue>>| {
            row.map(|columns| columns.into_iter().next().unwrap_or(SqlStorageValue::Null))
        };
        cursor
            .raw()
            .map(first)
            .collect::<worker::Result<_>>()
            .map_err(failed)
    }

    fn write(&self, query: &str, values: Vec<SqlStorageValue>) -> Result<()> {
        if !self.exist()? {
            self.exec(TABLES, vec![])?;
            self.made.set(true);
        }
        self.exec(query, values)
    }

    fn exec(&self, query: &str, values: Vec<SqlStorageValue>) -> Result<()> {
        self.sql
            .exec(query, values)
            .map(|_| ())
            .map_err(|error| internal("the records could not be written", error))
    }
}

fn json(value: &impl Serialize) -> Result<String, ErrorBody> {
    serde_json::to_string(value).map_err(|error| internal("a record could not be written", error))
}

/// A count as SQLite holds it; counts of ours stay far below 2^53.
fn integer(count: u64) -> SqlStorageValue {
    SqlStorageValue::Integer(i64::try_from(count).unwrap_or(i64::MAX))
}
