//! Requests that are passed on whole: to a service's port, and to a terminal. Upgrades pass through.

use std::rc::Rc;

use sandbox_protocol::error::{ErrorBody, ErrorCode};
use worker::wasm_bindgen::JsValue;
use worker::{Headers, Request, Response};

use crate::boot;
use crate::error::{Result, internal};
use crate::pass::{broken_off, passed_path};
use crate::sandbox::Core;
use crate::tickets;

/// What is between two hops and must not reach the third: the connection's own, which the platform sets anew,
/// and what tells who the caller is.
const KEPT_BACK: [&str; 16] = [
    "authorization",
    "connection",
    "content-length",
    "cookie",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "sec-websocket-accept",
    "sec-websocket-extensions",
    "sec-websocket-key",
    "sec-websocket-version",
    "te",
    "trailer",
    "transfer-encoding",
    tickets::HEADER,
];

/// Passes `request` on with its headers, starting the container if need be, and its answer back: body or
/// WebSocket, the platform moves it.
pub(crate) async fn whole(core: &Rc<Core>, request: Request) -> Result<Response> {
    let failed = |error: worker::Error| internal("the call could not be passed on", error);
    let life = boot::ensure(core).await?;
    core.touch()?;
    let path = passed_path(&request)?;
    let headers = headers(&request).map_err(failed)?;
    let body = request.inner().body().map(JsValue::from);
    let client = core.client(&life)?;
    let method = request.inner().method();
    match client.pass(&method, &path, headers, body).await {
        Ok(answer) => Ok(answer),
        Err(error) => Err(broken_off(core, &life, &error).await),
    }
}

/// Refuses what does not ask for a WebSocket: `UPGRADE_REQUIRED`.
pub(crate) fn check_upgrade(request: &Request) -> Result<()> {
    let upgrade = request.headers().get("Upgrade").ok().flatten();
    if upgrade.is_some_and(|protocol| protocol.eq_ignore_ascii_case("websocket")) {
        return Ok(());
    }
    Err(ErrorBody::new(
        ErrorCode::UpgradeRequired,
        "a terminal speaks WebSocket only",
    ))
}

fn headers(request: &Request) -> worker::Result<Headers> {
    let headers = Headers::new();
    for (name, value) in request.headers() {
        let kept_back = KEPT_BACK
            .iter()
            .any(|other| name.eq_ignore_ascii_case(other));
        if !kept_back && !name.starts_with("cf-") {
            headers.append(&name, &value)?;
        }
    }
    Ok(headers)
}
