//! The kept logs of builds: pieces in their order, under a cap.

use serde::Deserialize;
use worker::SqlStorageValue;

use super::{Records, integer};
use crate::error::{Result, internal};

/// A piece of a build's kept log.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct PieceHead {
    pub(crate) piece: i64,
    pub(crate) from_cursor: String,
    pub(crate) to_cursor: String,
}

impl Records {
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
}
