//! `GET /v1/sandbox`: what sleeps from the shards, what is awake from the sandboxes.

use futures::future::join_all;
use sandbox_protocol::error::{ErrorBody, ErrorCode};
use sandbox_protocol::request::invalid;
use sandbox_protocol::sandbox::{
    MAX_PAGE, PAGE, Sandbox, SandboxList, SandboxQuery, SandboxStatus,
};
use worker::{Env, Method, Request, RequestInit, Response, Url};

use super::{Announcement, BINDING, Page, Presence, SHARDS, shard_name};
use crate::answer::json;
use crate::error::{Result, internal};
use crate::platform::{now, within};

/// How long a sandbox may take to say how it is, in milliseconds; then it is told as it announced itself.
const STATE_LIMIT_MS: u64 = 5000;

/// Answers with a page of the sandboxes. `state_of` asks one that is awake for its state.
pub(crate) async fn list<F>(
    url: &Url,
    env: &Env,
    state_of: impl Fn(String) -> F,
) -> Result<Response>
where
    F: Future<Output = Result<Sandbox>>,
{
    let query: SandboxQuery = crate::query::read(url)?;
    let limit = match query.limit.as_deref().map(str::parse) {
        None => PAGE,
        Some(Ok(limit)) if (1..=MAX_PAGE).contains(&limit) => limit,
        Some(_) => return Err(invalid("limit", &format!("between 1 and {MAX_PAGE}"))),
    };
    let from = query.cursor.as_deref().map_or(Some((0, "")), read_cursor);
    let from = from.ok_or_else(|| {
        ErrorBody::new(
            ErrorCode::InvalidCursor,
            "the cursor cannot be read; pass back a `cursor` as it came",
        )
    })?;
    let presence = query.status.map(|status| match status {
        SandboxStatus::Stopped => Presence::Asleep,
        _ => Presence::Awake,
    });
    let (known, cursor) = known(env, limit, from, presence)
        .await
        .map_err(|error| internal("the registry could not be asked", error))?;
    let mut sandboxes = join_all(known.into_iter().map(|said| state(said, &state_of))).await;
    sandboxes.retain(|sandbox| query.status.is_none_or(|status| sandbox.status == status));
    json(&SandboxList { sandboxes, cursor })
}

/// At most `limit` of what the shards know, after `from`, and where the next page begins if there may be one.
async fn known(
    env: &Env,
    limit: u32,
    from: (u32, &str),
    presence: Option<Presence>,
) -> worker::Result<(Vec<Announcement>, Option<String>)> {
    let (mut shard, mut after) = (from.0, from.1.to_owned());
    let mut known: Vec<Announcement> = Vec::new();
    while shard < SHARDS {
        let left = limit.saturating_sub(u32::try_from(known.len()).unwrap_or(u32::MAX));
        let page = Page {
            after,
            limit: left,
            presence,
        };
        let found = ask(env, shard, &page).await?;
        let full = found.len() >= left as usize;
        known.extend(found);
        if full {
            let last = known.last();
            let cursor = last.map(|last| format!("{shard}.{}", last.sandbox.id));
            return Ok((known, cursor));
        }
        (shard, after) = (shard + 1, String::new());
    }
    Ok((known, None))
}

/// The state of one sandbox. That it cannot be asked is its own trouble, and not that of the list.
async fn state<F>(said: Announcement, state_of: impl Fn(String) -> F) -> Sandbox
where
    F: Future<Output = Result<Sandbox>>,
{
    let mut last_known = said.sandbox;
    if said.presence == Presence::Awake {
        let id = last_known.id.clone();
        match within(STATE_LIMIT_MS, state_of(id)).await {
            Some(Ok(sandbox)) => return sandbox,
            Some(Err(error)) => worker::console_warn!("{}: {error}", last_known.id),
            None => worker::console_warn!("{}: no answer in 5 s", last_known.id),
        }
    }
    let lease = last_known.keep_alive;
    last_known.keep_alive = lease.filter(|lease| lease.expires_at > now());
    last_known
}

fn read_cursor(text: &str) -> Option<(u32, &str)> {
    let (shard, after) = text.split_once('.')?;
    let shard = shard.parse().ok().filter(|shard| *shard < SHARDS)?;
    Some((shard, after))
}

async fn ask(env: &Env, shard: u32, page: &Page) -> worker::Result<Vec<Announcement>> {
    let mut init = RequestInit::new();
    init.with_method(Method::Post)
        .with_body(Some(serde_json::to_string(page)?.into()));
    let request = Request::new_with_init("http://registry/", &init)?;
    let object = env
        .durable_object(BINDING)?
        .get_by_name(&shard_name(shard))?;
    object.fetch_with_request(request).await?.json().await
}
