//! The scopes of callers that want the sandbox gone when they are.

use sandbox_protocol::time::Timestamp;
use worker::SqlStorageValue;

use super::Records;
use crate::error::Result;

/// A scope on record.
#[derive(Debug)]
pub(crate) struct ScopeRow {
    pub(crate) id: String,
    /// When the sandbox is to be destroyed for it: its stream has ended without a word.
    pub(crate) ends_at: Option<Timestamp>,
}

impl Records {
    /// Writes down a scope whose stream is about to be opened.
    pub(crate) fn open_scope(&self, id: &str) -> Result<()> {
        self.write("INSERT INTO scopes (id) VALUES (?)", vec![id.into()])
    }

    /// The stream of a scope ended without a word: the sandbox goes at `at`.
    pub(crate) fn end_scope(&self, id: &str, at: Timestamp) -> Result<()> {
        self.write(
            "UPDATE scopes SET ends_at = ? WHERE id = ? AND ends_at IS NULL",
            vec![SqlStorageValue::Integer(at.0), id.into()],
        )
    }

    /// Forgets a scope that its caller has closed.
    pub(crate) fn close_scope(&self, id: &str) -> Result<()> {
        self.write("DELETE FROM scopes WHERE id = ?", vec![id.into()])
    }

    /// Forgets the scopes that have had their effect.
    pub(crate) fn forget_ended_scopes(&self) -> Result<()> {
        self.write("DELETE FROM scopes WHERE ends_at IS NOT NULL", vec![])
    }

    pub(crate) fn scopes(&self) -> Result<Vec<ScopeRow>> {
        let rows: Vec<(String, Option<i64>)> =
            self.rows("SELECT json_array(id, ends_at) FROM scopes", vec![])?;
        let scope = |(id, ends_at): (String, Option<i64>)| ScopeRow {
            id,
            ends_at: ends_at.map(Timestamp),
        };
        Ok(rows.into_iter().map(scope).collect())
    }
}
