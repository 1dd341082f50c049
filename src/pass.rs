//! Calls that are passed to the supervisor, and their answers back: bodies untouched.

use std::rc::Rc;

use sandbox_protocol::error::ErrorBody;
use sandbox_protocol::process::Process;
use sandbox_protocol::request::parse_json;
use worker::wasm_bindgen::JsValue;
use worker::{Headers, Request, Response};

use crate::answer::json_text;
use crate::boot;
use crate::error::{Result, internal, unavailable};
use crate::query::url_of;
use crate::records::Life;
use crate::router::supervisor_path;
use crate::sandbox::{Core, interrupted};

/// Passes a call that may start the container.
pub(crate) async fn start_and_pass(
    core: &Rc<Core>,
    request: &Request,
    body: Option<JsValue>,
) -> Result<Response> {
    let life = boot::ensure(core).await?;
    active(core, &life, request, body).await
}

/// Starts a process, and remembers it: should its container die, somebody must know that it ran.
pub(crate) async fn start_process(
    core: &Rc<Core>,
    request: &Request,
    body: String,
) -> Result<Response> {
    let life = boot::ensure(core).await?;
    let mut answer = active(core, &life, request, Some(body.into())).await?;
    if answer.status_code() >= 300 {
        return Ok(answer);
    }
    let failed = |error: worker::Error| internal("the answer could not be read", error);
    let (status, text) = (answer.status_code(), answer.text().await.map_err(failed)?);
    let process: Process = parse_json(text.as_bytes())?;
    core.records.keep_processes(life.generation, &[process])?;
    json_text(&text, status)
}

/// Passes a call that counts as activity.
pub(crate) async fn active(
    core: &Rc<Core>,
    life: &Life,
    request: &Request,
    body: Option<JsValue>,
) -> Result<Response> {
    core.touch()?;
    pass(core, life, request, body).await
}

/// Passes a call and its answer.
pub(crate) async fn pass(
    core: &Rc<Core>,
    life: &Life,
    request: &Request,
    body: Option<JsValue>,
) -> Result<Response> {
    pass_as(core, life, request, &passed_path(request)?, body).await
}

/// Passes a call as one of `path`, which has the query in it.
pub(crate) async fn pass_as(
    core: &Rc<Core>,
    life: &Life,
    request: &Request,
    path: &str,
    body: Option<JsValue>,
) -> Result<Response> {
    let failed = |error: worker::Error| internal("the call could not be passed on", error);
    let headers = Headers::new();
    for name in ["Accept", "Content-Type", "Last-Event-ID"] {
        if let Some(value) = request.headers().get(name).map_err(failed)? {
            headers.set(name, &value).map_err(failed)?;
        }
    }
    let client = core.client(life)?;
    let method = request.inner().method();
    let answer = client.pass(&method, path, headers, body).await;
    match answer {
        Ok(answer) => Ok(answer),
        Err(error) => Err(broken_off(core, life, &error).await),
    }
}

/// The path and query of `request` as the supervisor knows them.
pub(crate) fn passed_path(request: &Request) -> Result<String> {
    let url = url_of(request)?;
    Ok(with_query(supervisor_path(url.path()), url.query()))
}

/// The query of `request`, as it came.
pub(crate) fn passed_query(request: &Request) -> Result<Option<String>> {
    Ok(url_of(request)?.query().map(str::to_owned))
}

/// A path with its query.
pub(crate) fn with_query(path: &str, query: Option<&str>) -> String {
    query.map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"))
}

/// Why a call to the supervisor broke off: the sandbox was destroyed meanwhile, or the container is gone.
pub(crate) async fn broken_off(core: &Rc<Core>, life: &Life, error: &worker::Error) -> ErrorBody {
    let current = core.records.life().ok().flatten();
    let same = current.is_some_and(|current| {
        current.generation == life.generation && current.status == life.status
    });
    if !same || core.stopping.borrow().is_some() {
        return interrupted();
    }
    match core.container_running().await {
        Ok(true) => unavailable("unreachable", format!("the supervisor broke off: {error}")),
        _ => unavailable(
            boot::CONTAINER_DIED,
            "the container stopped during the call",
        ),
    }
}
