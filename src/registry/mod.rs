//! The registry: which sandboxes there are. A few objects of their own class, each with the ids of one shard.
//!
//! A sandbox announces itself when it starts, stops and is forgotten, never in between; what it announced last
//! is among its own records, so that a lost announcement is made again at the next look or request. A list asks
//! each sandbox for its state, which heals what is stale.

mod announce;
#[cfg(feature = "entry")]
mod list;

use std::cell::Cell;

use sandbox_protocol::time::Timestamp;
use serde::{Deserialize, Serialize};
use worker::{
    DurableObject, Env, Method, Request, Response, SqlStorage, SqlStorageValue, State,
    durable_object,
};

#[cfg(feature = "entry")]
pub(crate) use list::list;

/// The binding of wrangler.toml under which the shards are found.
pub(crate) const BINDING: &str = "REGISTRY";

/// How many shards there are. Another number would lose what was announced under this one.
const SHARDS: u32 = 16;

/// What a sandbox says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Presence {
    /// Its container is there, or on its way up or down.
    Awake,
    /// It sleeps, and has records.
    Asleep,
    /// It sleeps, and nothing is remembered of it.
    Forgotten,
}

/// One announcement.
#[derive(Debug, Serialize, Deserialize)]
struct Announcement {
    id: String,
    presence: Presence,
    /// When it was made: an earlier one that comes later changes nothing.
    at: Timestamp,
}

/// What a list asks of a shard.
#[derive(Debug, Serialize, Deserialize)]
struct Page {
    /// Ids after this one.
    after: String,
    /// At most so many.
    limit: u32,
    /// Only those.
    presence: Option<Presence>,
}

/// The shard of `id`: FNV-1a, which any version of this can compute again.
fn shard(id: &str) -> u32 {
    let hash = id.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    hash % SHARDS
}

fn shard_name(shard: u32) -> String {
    format!("shard-{shard}")
}

/// The Durable Object class of a shard.
#[durable_object]
pub struct Registry {
    sql: SqlStorage,
    made: Cell<bool>,
}

impl DurableObject for Registry {
    fn new(state: State, _env: Env) -> Self {
        Self {
            sql: state.storage().sql(),
            made: Cell::new(false),
        }
    }

    async fn fetch(&self, mut request: Request) -> worker::Result<Response> {
        if !self.made.replace(true) {
            let table = "CREATE TABLE IF NOT EXISTS sandboxes (
                id TEXT PRIMARY KEY, presence TEXT NOT NULL, at INTEGER NOT NULL)";
            self.sql.exec(table, vec![])?;
        }
        match request.method() {
            Method::Put => {
                self.note(&request.json().await?)?;
                Response::empty()
            }
            _ => Response::from_json(&self.page(&request.json().await?)?),
        }
    }
}

impl Registry {
    fn note(&self, said: &Announcement) -> worker::Result<()> {
        let at = SqlStorageValue::Integer(said.at.0);
        if said.presence == Presence::Forgotten {
            let query = "DELETE FROM sandboxes WHERE id = ? AND at <= ?";
            self.sql.exec(query, vec![said.id.as_str().into(), at])?;
            return Ok(());
        }
        self.sql.exec(
            "INSERT INTO sandboxes (id, presence, at) VALUES (?, ?, ?)
             ON CONFLICT (id) DO UPDATE SET presence = excluded.presence, at = excluded.at
             WHERE excluded.at >= at",
            vec![said.id.as_str().into(), name(said.presence)?.into(), at],
        )?;
        Ok(())
    }

    fn page(&self, page: &Page) -> worker::Result<Vec<String>> {
        let presence = page.presence.map(name).transpose()?;
        let rows = self.sql.exec(
            "SELECT id FROM sandboxes WHERE id > ?1 AND (?2 IS NULL OR presence = ?2)
             ORDER BY id LIMIT ?3",
            vec![
                page.after.as_str().into(),
                presence.into(),
                SqlStorageValue::Integer(i64::from(page.limit)),
            ],
        )?;
        let id = |row: worker::Result<Vec<SqlStorageValue>>| match row?.into_iter().next() {
            Some(SqlStorageValue::String(id)) => Ok(id),
            other => Err(worker::Error::from(format!("an id is {other:?}"))),
        };
        rows.raw().map(id).collect()
    }
}

fn name(presence: Presence) -> worker::Result<String> {
    Ok(serde_json::to_string(&presence)?)
}

#[cfg(test)]
mod tests {
    use super::{SHARDS, shard};

    #[test]
    fn an_id_has_its_shard_for_ever_and_the_shards_are_used_alike() {
        assert_eq!(shard("a"), 12);
        let mut counts = [0_u32; SHARDS as usize];
        for number in 0..1600 {
            counts[shard(&format!("sandbox-{number}")) as usize] += 1;
        }
        assert!(
            counts.iter().all(|count| (50..200).contains(count)),
            "{counts:?}"
        );
    }
}
