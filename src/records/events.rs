//! The lifecycle log.

use sandbox_protocol::sandbox::Event;
use sandbox_protocol::time::Timestamp;

use super::{Records, json};
use crate::error::Result;

/// How many events are kept; the newest.
const KEPT: i64 = 500;

impl Records {
    /// Adds to the lifecycle log. With `once`, a second event of that key is not added.
    pub(crate) fn add_event(&self, event: &Event, once: Option<String>) -> Result<()> {
        self.write(
            "INSERT OR IGNORE INTO events (row, once) VALUES (?, ?)",
            vec![json(event)?.into(), once.into()],
        )?;
        self.write(
            "DELETE FROM events WHERE number <= (
                 SELECT number FROM events ORDER BY number DESC LIMIT 1 OFFSET ?)",
            vec![KEPT.into()],
        )
    }

    /// The lifecycle log, newest last.
    pub(crate) fn events(&self) -> Result<Vec<Event>> {
        self.rows("SELECT row FROM events ORDER BY number", vec![])
    }

    /// Forgets the events from before `then`.
    pub(super) fn forget_events_before(&self, then: Timestamp) -> Result<()> {
        self.write(
            "DELETE FROM events WHERE json_extract(row, '$.timestamp') < ?",
            vec![then.to_string().into()],
        )
    }
}
