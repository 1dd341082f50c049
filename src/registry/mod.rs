//! The registry: which sandboxes there are. A few objects of their own class, each with the ids of one shard.
//!
//! A sandbox announces itself when it starts, stops, is forgotten or gets other options; what it announced last is
//! among its own records, so that a lost announcement is made again: by its alarm, which it sets for nothing but
//! that where it has to, and at the next request. What sleeps is listed as it announced itself, without being woken;
//! what is awake is asked, which heals what is stale, and told as it announced itself if it does not answer.

mod announce;
#[cfg(feature = "entry")]
mod list;

use std::cell::Cell;

use sandbox_protocol::sandbox::Sandbox;
use sandbox_protocol::time::Timestamp;
use serde::{Deserialize, Serialize};
use worker::{
    DurableObject, Env, Method, Request, Response, SqlStorage, SqlStorageValue, State,
    durable_object,
};

use crate::error::Result;
use crate::platform::now;
use crate::settings::Settings;

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

/// What a sandbox says of itself, and what the registry has of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Announcement {
    pub(crate) presence: Presence,
    /// The sandbox as its rows have it. What changes all the time is left out of one that is awake.
    pub(crate) sandbox: Sandbox,
}

impl Announcement {
    /// Whether this is worth telling to somebody who knows `told`.
    fn is_news(&self, told: Option<&Self>) -> bool {
        match told {
            None => self.presence != Presence::Forgotten,
            Some(told) if self.presence == Presence::Forgotten => told.presence != self.presence,
            Some(told) => self != told,
        }
    }
}

/// One announcement on its way.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    said: Announcement,
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
    settings: Result<Settings>,
    made: Cell<bool>,
}

impl DurableObject for Registry {
    fn new(state: State, env: Env) -> Self {
        Self {
            sql: state.storage().sql(),
            settings: Settings::from_env(&env),
            made: Cell::new(false),
        }
    }

    async fn fetch(&self, mut request: Request) -> worker::Result<Response> {
        if !self.made.get() {
            let table = "CREATE TABLE IF NOT EXISTS announced (
                id TEXT PRIMARY KEY, presence TEXT NOT NULL, at INTEGER NOT NULL, said TEXT NOT NULL)";
            self.sql.exec(table, vec![])?;
            self.made.set(true);
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
    fn note(&self, note: &Note) -> worker::Result<()> {
        let at = SqlStorageValue::Integer(note.at.0);
        let id = SqlStorageValue::from(note.said.sandbox.id.as_str());
        if note.said.presence == Presence::Forgotten {
            let query = "DELETE FROM announced WHERE id = ? AND at <= ?";
            self.sql.exec(query, vec![id, at])?;
            return Ok(());
        }
        let said = serde_json::to_string(&note.said)?;
        self.sql.exec(
            "INSERT INTO announced (id, presence, at, said) VALUES (?, ?, ?, ?)
             ON CONFLICT (id) DO UPDATE SET presence = excluded.presence, at = excluded.at, said = excluded.said
             WHERE excluded.at >= at",
            vec![id, name(note.said.presence)?.into(), at, said.into()],
        )?;
        Ok(())
    }

    fn page(&self, page: &Page) -> worker::Result<Vec<Announcement>> {
        self.forget_old()?;
        let presence = page.presence.map(name).transpose()?;
        let rows = self.sql.exec(
            "SELECT said FROM announced WHERE id > ?1 AND (?2 IS NULL OR presence = ?2)
             ORDER BY id LIMIT ?3",
            vec![
                page.after.as_str().into(),
                presence.into(),
                SqlStorageValue::Integer(i64::from(page.limit)),
            ],
        )?;
        let said = |row: worker::Result<Vec<SqlStorageValue>>| match row?.into_iter().next() {
            Some(SqlStorageValue::String(said)) => Ok(serde_json::from_str(&said)?),
            other => Err(worker::Error::from(format!("an announcement is {other:?}"))),
        };
        rows.raw().map(said).collect()
    }

    /// Forgets what has slept for so long that the sandbox itself remembers nothing.
    fn forget_old(&self) -> worker::Result<()> {
        let settings = self.settings.as_ref();
        let settings = settings.map_err(|error| worker::Error::from(error.to_string()))?;
        let then = now().minus_ms(settings.retention_ms);
        self.sql.exec(
            "DELETE FROM announced WHERE presence = ? AND at < ?",
            vec![
                name(Presence::Asleep)?.into(),
                SqlStorageValue::Integer(then.0),
            ],
        )?;
        Ok(())
    }
}

fn name(presence: Presence) -> worker::Result<String> {
    Ok(serde_json::to_string(&presence)?)
}

#[cfg(test)]
mod tests {
    use sandbox_protocol::sandbox::{Sandbox, SandboxStatus};

    use super::{Announcement, Presence, SHARDS, shard};

    fn said(presence: Presence, sleep_after_ms: u64) -> Announcement {
        let status = match presence {
            Presence::Awake => SandboxStatus::Running,
            _ => SandboxStatus::Stopped,
        };
        let sandbox = Sandbox {
            id: "a".into(),
            status,
            boot_id: None,
            started_at: None,
            last_activity_at: None,
            sleep_after_ms,
            keep_alive: None,
            running_processes: 0,
            build: None,
        };
        Announcement { presence, sandbox }
    }

    #[test]
    fn only_what_the_registry_does_not_know_is_announced() {
        let [awake, asleep, forgotten] =
            [Presence::Awake, Presence::Asleep, Presence::Forgotten].map(|p| said(p, 1));
        let patched = said(Presence::Asleep, 2);
        for (now, told, news) in [
            (&forgotten, None, false),
            (&awake, None, true),
            (&asleep, None, true),
            (&awake, Some(&awake), false),
            (&asleep, Some(&awake), true),
            (&patched, Some(&asleep), true),
            (&forgotten, Some(&patched), true),
            (&said(Presence::Forgotten, 2), Some(&forgotten), false),
        ] {
            assert_eq!(now.is_news(told), news, "{now:?} after {told:?}");
        }
    }

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
