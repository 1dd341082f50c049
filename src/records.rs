//! What outlives the container and the isolate: the only user of the object's SQLite.
//!
//! Nothing is written, the tables not even made, before something must be remembered: looking at an id
//! that was never used leaves no trace.

use std::cell::Cell;

use sandbox_protocol::build::{Build, OnDisconnect};
use sandbox_protocol::error::ErrorBody;
use sandbox_protocol::process::{Environment, Process, ProcessRequest};
use sandbox_protocol::sandbox::{DEFAULT_SLEEP_AFTER_MS, Event, KeepAliveRequest, SandboxStatus};
use sandbox_protocol::time::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use worker::{SqlStorage, SqlStorageValue, State};

use crate::error::{Result, internal};

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
";

/// How many events, builds and final process records are kept; the newest.
const KEPT_EVENTS: i64 = 500;
const KEPT_BUILDS: i64 = 50;
const KEPT_PROCESSES: i64 = 1000;

/// How long a ticket opens its stream again, once it was used: as long as a log can be of interest.
const TICKET_REUSE_MS: i64 = 24 * 3_600_000;

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

/// A build: its record, and what is needed to go on with it after the isolate died.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct BuildRow {
    pub(crate) record: Build,
    pub(crate) generation: Option<u64>,
    /// What is started; the object's own process of the supervisor.
    pub(crate) process: ProcessRequest,
    pub(crate) on_disconnect: OnDisconnect,
    /// Whether a container that was not there was started for it.
    pub(crate) started_container: bool,
    /// The cursor up to which its log is saved.
    pub(crate) saved: Option<String>,
}

/// A piece of a build's kept log.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct PieceHead {
    pub(crate) piece: i64,
    pub(crate) from_cursor: String,
    pub(crate) to_cursor: String,
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
            self.made.set(!found.is_empty());
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

    /// Writes a build's row, new or not.
    pub(crate) fn set_build(&self, build: &BuildRow) -> Result<()> {
        self.write(
            "INSERT INTO builds (id, final, row) VALUES (?, ?, ?)
             ON CONFLICT (id) DO UPDATE SET final = excluded.final, row = excluded.row",
            vec![
                build.record.id.as_str().into(),
                i32::from(build.record.status.is_final()).into(),
                json(build)?.into(),
            ],
        )?;
        self.forget_old_builds()
    }

    /// The build that has not ended, if there is one.
    pub(crate) fn live_build(&self) -> Result<Option<BuildRow>> {
        let rows = self.rows("SELECT row FROM builds WHERE final = 0", vec![])?;
        Ok(rows.into_iter().next())
    }

    pub(crate) fn build(&self, id: &str) -> Result<Option<BuildRow>> {
        let rows = self.rows("SELECT row FROM builds WHERE id = ?", vec![id.into()])?;
        Ok(rows.into_iter().next())
    }

    /// Every build, newest first.
    pub(crate) fn builds(&self) -> Result<Vec<BuildRow>> {
        self.rows("SELECT row FROM builds ORDER BY number DESC", vec![])
    }

    fn forget_old_builds(&self) -> Result<()> {
        let old = "SELECT id FROM builds WHERE final = 1 AND number <= (SELECT MAX(number) FROM builds) - ?";
        self.write(
            &format!("DELETE FROM build_logs WHERE build IN ({old})"),
            vec![KEPT_BUILDS.into()],
        )?;
        self.write(
            &format!("DELETE FROM builds WHERE id IN ({old})"),
            vec![KEPT_BUILDS.into()],
        )
    }

    /// Adds a piece to a build's kept log and drops the oldest pieces beyond `cap_bytes`.
    pub(crate) fn keep_piece(
        &self,
        build: &str,
        piece: &crate::client::Piece,
        raw_bytes: u64,
        cap_bytes: u64,
    ) -> Result<()> {
        self.write(
            "INSERT INTO build_logs (build, piece, from_cursor, to_cursor, raw_bytes, packed)
             SELECT ?1, COALESCE(MAX(piece), 0) + 1, ?2, ?3, ?4, ?5 FROM build_logs WHERE build = ?1",
            vec![
                build.into(),
                piece.from.as_str().into(),
                piece.to.as_str().into(),
                integer(raw_bytes),
                piece.packed.clone().into(),
            ],
        )?;
        self.write(
            "DELETE FROM build_logs WHERE build = ?1 AND piece IN (
                 SELECT piece FROM (
                     SELECT piece, SUM(raw_bytes) OVER (ORDER BY piece DESC) AS newer
                     FROM build_logs WHERE build = ?1)
                 WHERE newer > ?2)",
            vec![build.into(), integer(cap_bytes)],
        )
    }

    /// The pieces of a build's kept log, oldest first, without their content.
    pub(crate) fn pieces(&self, build: &str) -> Result<Vec<PieceHead>> {
        if !self.exist()? {
            return Ok(Vec::new());
        }
        let query =
            "SELECT piece, from_cursor, to_cursor FROM build_logs WHERE build = ? ORDER BY piece";
        self.sql
            .exec(query, vec![build.into()])
            .and_then(|cursor| cursor.to_array())
            .map_err(|error| internal("the records could not be read", error))
    }

    /// The content of one piece; `None` if it was dropped meanwhile.
    pub(crate) fn piece(&self, build: &str, piece: i64) -> Result<Option<Vec<u8>>> {
        let query = "SELECT packed FROM build_logs WHERE build = ? AND piece = ?";
        let rows = self.query(query, vec![build.into(), SqlStorageValue::Integer(piece)])?;
        Ok(rows.into_iter().next().and_then(|row| match row {
            SqlStorageValue::Blob(packed) => Some(packed),
            _ => None,
        }))
    }

    /// Keeps the final records of processes.
    pub(crate) fn keep_processes(&self, generation: u64, processes: &[Process]) -> Result<()> {
        for process in processes {
            self.write(
                "INSERT OR REPLACE INTO processes (id, generation, row) VALUES (?, ?, ?)",
                vec![
                    process.id.as_str().into(),
                    integer(generation),
                    json(process)?.into(),
                ],
            )?;
        }
        self.write(
            "DELETE FROM processes WHERE rowid <= (SELECT MAX(rowid) FROM processes) - ?",
            vec![KEPT_PROCESSES.into()],
        )
    }

    pub(crate) fn processes(&self) -> Result<Vec<Process>> {
        self.rows("SELECT row FROM processes ORDER BY rowid", vec![])
    }

    pub(crate) fn process(&self, id: &str) -> Result<Option<Process>> {
        let rows = self.rows("SELECT row FROM processes WHERE id = ?", vec![id.into()])?;
        Ok(rows.into_iter().next())
    }

    /// The life of the container that a kept process belongs to.
    pub(crate) fn process_generation(&self, id: &str) -> Result<Option<u64>> {
        self.rows(
            "SELECT CAST(generation AS TEXT) FROM processes WHERE id = ?",
            vec![id.into()],
        )
        .map(|rows| rows.into_iter().next())
    }

    pub(crate) fn forget_process(&self, id: &str) -> Result<()> {
        self.write("DELETE FROM processes WHERE id = ?", vec![id.into()])
    }

    /// Adds to the lifecycle log. With `once`, a second event of that key is not added.
    pub(crate) fn add_event(&self, event: &Event, once: Option<String>) -> Result<()> {
        self.write(
            "INSERT OR IGNORE INTO events (row, once) VALUES (?, ?)",
            vec![json(event)?.into(), once.into()],
        )?;
        self.write(
            "DELETE FROM events WHERE number <= (SELECT MAX(number) FROM events) - ?",
            vec![KEPT_EVENTS.into()],
        )
    }

    /// The lifecycle log, newest last.
    pub(crate) fn events(&self) -> Result<Vec<Event>> {
        self.rows("SELECT row FROM events ORDER BY number", vec![])
    }

    /// Remembers a ticket that opens one stream until `open_until`.
    pub(crate) fn add_ticket(
        &self,
        ticket: &str,
        open_until: Timestamp,
        now: Timestamp,
    ) -> Result<()> {
        self.write(
            "DELETE FROM tickets WHERE open_until < ?",
            vec![SqlStorageValue::Integer(now.0)],
        )?;
        self.write(
            "INSERT INTO tickets (ticket, open_until) VALUES (?, ?)",
            vec![ticket.into(), SqlStorageValue::Integer(open_until.0)],
        )
    }

    /// Uses a ticket for `stream`. Its first use binds it to that stream, which it then opens again.
    pub(crate) fn use_ticket(&self, ticket: &str, stream: &str, now: Timestamp) -> Result<bool> {
        if !self.exist()? {
            return Ok(false);
        }
        let found = self.query(
            "SELECT COALESCE(stream, '') FROM tickets WHERE ticket = ? AND open_until >= ?",
            vec![ticket.into(), SqlStorageValue::Integer(now.0)],
        )?;
        match found.first() {
            Some(SqlStorageValue::String(bound)) if bound.is_empty() => {
                self.write(
                    "UPDATE tickets SET stream = ?, open_until = ? WHERE ticket = ?",
                    vec![
                        stream.into(),
                        SqlStorageValue::Integer(now.plus_ms(TICKET_REUSE_MS).0),
                        ticket.into(),
                    ],
                )?;
                Ok(true)
            }
            Some(SqlStorageValue::String(bound)) => Ok(bound == stream),
            _ => Ok(false),
        }
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
