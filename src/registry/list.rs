//! `GET /v1/sandbox`: the ids from the shards, the states from the sandboxes.

use futures::future::join_all;
use sandbox_protocol::request::{invalid, parse};
use sandbox_protocol::sandbox::{
    MAX_PAGE, PAGE, Sandbox, SandboxList, SandboxQuery, SandboxStatus,
};
use worker::{Env, Method, Request, RequestInit, Response, ResponseBuilder, Url};

use super::{BINDING, Page, Presence, SHARDS, shard_name};
use crate::error::{Result, internal};

/// Answers with a page of the sandboxes. `state_of` asks one for its state.
pub(crate) async fn list<F>(
    url: &Url,
    env: &Env,
    state_of: impl Fn(String) -> F,
) -> Result<Response>
where
    F: Future<Output = Result<Sandbox>>,
{
    let pairs = url
        .query_pairs()
        .map(|(name, value)| (name.into_owned(), value.into_owned().into()));
    let query: SandboxQuery = parse(serde_json::Value::Object(pairs.collect()))?;
    let limit = match query.limit.as_deref().map(str::parse) {
        None => PAGE,
        Some(Ok(limit)) if (1..=MAX_PAGE).contains(&limit) => limit,
        Some(_) => return Err(invalid("limit", &format!("between 1 and {MAX_PAGE}"))),
    };
    let from = query.cursor.as_deref().map_or(Some((0, "")), read_cursor);
    let (mut shard, mut after) = from
        .map(|(shard, after)| (shard, after.to_owned()))
        .ok_or_else(|| invalid("cursor", "expected a `cursor` as it came"))?;
    let presence = query.status.map(|status| match status {
        SandboxStatus::Stopped => Presence::Asleep,
        _ => Presence::Awake,
    });
    let mut ids: Vec<String> = Vec::new();
    let mut cursor = None;
    while shard < SHARDS {
        let left = limit.saturating_sub(u32::try_from(ids.len()).unwrap_or(u32::MAX));
        let page = Page {
            after: after.clone(),
            limit: left,
            presence,
        };
        let found = ask(env, shard, &page).await;
        let found = found.map_err(|error| internal("the registry could not be asked", error))?;
        let full = found.len() >= left as usize;
        ids.extend(found);
        if full {
            cursor = ids.last().map(|last| format!("{shard}.{last}"));
            break;
        }
        (shard, after) = (shard + 1, String::new());
    }
    let states = join_all(ids.into_iter().map(state_of)).await;
    let mut sandboxes = states.into_iter().collect::<Result<Vec<_>>>()?;
    sandboxes.retain(|sandbox| query.status.is_none_or(|status| sandbox.status == status));
    ResponseBuilder::new()
        .from_json(&SandboxList { sandboxes, cursor })
        .map_err(|error| internal("the answer could not be made", error))
}

fn read_cursor(text: &str) -> Option<(u32, &str)> {
    let (shard, after) = text.split_once('.')?;
    let shard = shard.parse().ok().filter(|shard| *shard < SHARDS)?;
    Some((shard, after))
}

async fn ask(env: &Env, shard: u32, page: &Page) -> worker::Result<Vec<String>> {
    let mut init = RequestInit::new();
    init.with_method(Method::Post)
        .with_body(Some(serde_json::to_string(page)?.into()));
    let request = Request::new_with_init("http://registry/", &init)?;
    let object = env
        .durable_object(BINDING)?
        .get_by_name(&shard_name(shard))?;
    object.fetch_with_request(request).await?.json().await
}
