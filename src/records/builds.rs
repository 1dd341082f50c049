//! The rows of builds.

use sandbox_protocol::build::{Build, OnDisconnect};
use sandbox_protocol::process::ProcessRequest;
use sandbox_protocol::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Records, json};
use crate::error::Result;

/// How many builds are kept; the newest.
const KEPT: i64 = 50;

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

impl Records {
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
        // Numbers have gaps: each time that a row is written over, one is used up.
        let old = "SELECT id FROM builds WHERE final = 1 AND number <= (
            SELECT number FROM builds ORDER BY number DESC LIMIT 1 OFFSET ?)";
        self.write(
            &format!("DELETE FROM build_logs WHERE build IN ({old})"),
            vec![KEPT.into()],
        )?;
        self.write(
            &format!("DELETE FROM builds WHERE id IN ({old})"),
            vec![KEPT.into()],
        )
    }

    /// Forgets the builds that ended before `then`, and their logs.
    pub(super) fn forget_builds_before(&self, then: Timestamp) -> Result<()> {
        let old =
            "SELECT id FROM builds WHERE final = 1 AND json_extract(row, '$.record.endedAt') < ?";
        for query in [
            format!("DELETE FROM build_logs WHERE build IN ({old})"),
            format!("DELETE FROM builds WHERE id IN ({old})"),
        ] {
            self.write(&query, vec![then.to_string().into()])?;
        }
        Ok(())
    }
}
