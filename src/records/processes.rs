//! What is remembered of processes: while they run, the last that was told of them; afterwards how they ended.

use std::collections::HashSet;

use sandbox_protocol::process::{ExitReason, Process};
use sandbox_protocol::time::Timestamp;

use super::{Records, integer, json};
use crate::error::Result;

/// How many records of processes are kept; the newest.
const KEPT: i64 = 1000;

impl Records {
    /// Keeps what is told of processes of the life `generation`, over what was told before.
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
            "DELETE FROM processes WHERE rowid <= (
                 SELECT rowid FROM processes ORDER BY rowid DESC LIMIT 1 OFFSET ?)",
            vec![KEPT.into()],
        )
    }

    pub(crate) fn processes(&self) -> Result<Vec<Process>> {
        self.rows("SELECT row FROM processes ORDER BY rowid", vec![])
    }

    pub(crate) fn process(&self, id: &str) -> Result<Option<Process>> {
        let rows = self.rows("SELECT row FROM processes WHERE id = ?", vec![id.into()])?;
        Ok(rows.into_iter().next())
    }

    /// The ids of those of the life `generation` that have not ended, as far as is known.
    pub(crate) fn open_processes(&self, generation: u64) -> Result<HashSet<String>> {
        let rows: Vec<Process> = self.rows(
            "SELECT row FROM processes WHERE generation = ?",
            vec![integer(generation)],
        )?;
        let open = rows.into_iter().filter(|row| !row.status.is_final());
        Ok(open.map(|row| row.id).collect())
    }

    pub(crate) fn forget_process(&self, id: &str) -> Result<()> {
        self.write("DELETE FROM processes WHERE id = ?", vec![id.into()])
    }

    /// Ends the records of the life `generation` that have not ended: nobody saw how they did.
    pub(crate) fn lose_processes(&self, generation: u64, now: Timestamp) -> Result<()> {
        let rows: Vec<Process> = self.rows(
            "SELECT row FROM processes WHERE generation = ? ORDER BY rowid",
            vec![integer(generation)],
        )?;
        let lost = rows
            .into_iter()
            .filter(|process| !process.status.is_final())
            .map(|process| lost(process, now));
        self.keep_processes(generation, &lost.collect::<Vec<_>>())
    }

    /// Forgets the processes that ended before `then`.
    pub(super) fn forget_processes_before(&self, then: Timestamp) -> Result<()> {
        self.write(
            "DELETE FROM processes WHERE json_extract(row, '$.endTime') < ?",
            vec![then.to_string().into()],
        )
    }
}

/// The final record of a process that went with its container: nobody saw it end.
pub(crate) fn lost(process: Process, now: Timestamp) -> Process {
    Process {
        status: ExitReason::Lost.status(None),
        reason: Some(ExitReason::Lost),
        end_time: Some(now),
        descendants: 0,
        ..process
    }
}
