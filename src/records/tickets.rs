//! The tickets that open streams.

use sandbox_protocol::time::Timestamp;
use worker::SqlStorageValue;

use super::Records;
use crate::error::Result;

/// How long a ticket opens its stream again, once it was used: as long as a log can be of interest.
const REUSE_MS: u64 = 24 * 3_600_000;

impl Records {
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
                        SqlStorageValue::Integer(now.plus_ms(REUSE_MS).0),
                        ticket.into(),
                    ],
                )?;
                Ok(true)
            }
            Some(SqlStorageValue::String(bound)) => Ok(bound == stream),
            _ => Ok(false),
        }
    }
}
