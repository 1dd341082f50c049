//! The Worker's part of a request: who asks, from where, and for which sandbox.

use sandbox_protocol::error::ErrorBody;
use sandbox_protocol::sandbox::{Created, OptionsRequest, Sandbox};
use sandbox_protocol::service::ServiceHealth;
use worker::wasm_bindgen::JsValue;
use worker::{Env, Headers, Method, Request, RequestInit, Response, Url};

use crate::answer::{json, json_text, made};
use crate::auth::{Caller, Gate};
use crate::error::{Result, internal};
use crate::platform::{self, random_name};
use crate::router::{Route, route};
use crate::settings::{Settings, variable};
use crate::{body, registry, tickets};

/// The binding of wrangler.toml under which the objects are found.
const BINDING: &str = "SANDBOX";

/// What `GET /v1/openapi.json` answers: made from the protocol's types, by `make openapi`.
const DOCUMENT: &str = include_str!("../protocol/openapi.json");

/// Answers a request from outside.
pub(crate) async fn serve(request: Request, env: &Env) -> worker::Result<Response> {
    let gate = Gate::read(|name| variable(env, name));
    let url = request.url()?;
    let headers = request.headers().clone();
    let header = |name: &str| headers.get(name).ok().flatten();
    let (authorization, origin) = (header("Authorization"), header("Origin"));
    let host = url.port().map_or_else(
        || url.host_str().unwrap_or_default().to_owned(),
        |port| format!("{}:{port}", url.host_str().unwrap_or_default()),
    );
    let caller = Caller {
        authorization: authorization.as_deref(),
        origin: origin.as_deref(),
        host: &host,
    };
    let body = request.inner().body();
    let answered = admit(gate.as_ref(), caller, request, &url, env).await;
    let answer = body::settle(answered, body).await?;
    let allows = |origin: &String| gate.as_ref().is_ok_and(|gate| gate.allows_origin(origin));
    match origin.filter(allows) {
        Some(origin) => share(answer, &origin),
        None => Ok(answer),
    }
}

async fn admit(
    gate: Result<&Gate, &ErrorBody>,
    caller: Caller<'_>,
    request: Request,
    url: &Url,
    env: &Env,
) -> Result<Response> {
    if let Ok(gate) = gate {
        gate.check_origin(caller, &url.origin().ascii_serialization())?;
        let asks_first = request
            .headers()
            .get("Access-Control-Request-Method")
            .is_ok_and(|header| header.is_some());
        if request.method() == Method::Options && caller.origin.is_some() && asks_first {
            return preflight();
        }
    }
    let route = match route(&request.inner().method(), url.path()) {
        Ok(route) => route,
        // Only who may call is told what there is. Health is for everybody, and so is how to ask for it.
        Err(error) => {
            if url.path() != "/health" {
                gate.map_err(Clone::clone)?.check_key(caller)?;
            }
            return Err(error);
        }
    };
    if route == Route::Health {
        return json(&ServiceHealth {
            ok: true,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        });
    }
    // Everything else waits for a deployment that is as it should be, whoever asks.
    let gate = gate.map_err(Clone::clone)?;
    Settings::from_env(env)?;
    let ticket = ticket(&route, caller, url);
    if ticket.is_none() {
        gate.check_key(caller)?;
    }
    match route {
        Route::Health => Err(internal("the route", "health was answered above")),
        Route::Document => document(),
        Route::ListSandboxes => registry::list(url, env, |id| state_of(id, env)).await,
        Route::CreateSandbox => create(request, env).await,
        Route::Sandbox(id, _) => hand_over(id.as_str(), &request, url, ticket, env).await,
    }
}

/// The ticket that stands in for the key; the object says whether it is good.
fn ticket(route: &Route, caller: Caller<'_>, url: &Url) -> Option<String> {
    let Route::Sandbox(_, call) = route else {
        return None;
    };
    if caller.authorization.is_some() || !call.takes_ticket() {
        return None;
    }
    let found = url.query_pairs().find(|(name, _)| name == "ticket");
    let ticket = found.map(|(_, ticket)| ticket.into_owned());
    ticket.filter(|ticket| tickets::is_one(ticket))
}

/// Hands the request to the object of `id`: the same method, path and body, without what is between the
/// client and the Worker alone.
async fn hand_over(
    id: &str,
    request: &Request,
    url: &Url,
    ticket: Option<String>,
    env: &Env,
) -> Result<Response> {
    let failed = |error: worker::Error| internal("the object could not be asked", error);
    let headers = Headers::new();
    for (name, value) in request.headers() {
        headers.append(&name, &value).map_err(failed)?;
    }
    for name in ["Authorization", "Cookie", "Origin", tickets::HEADER] {
        headers.delete(name).map_err(failed)?;
    }
    if let Some(ticket) = &ticket {
        headers.set(tickets::HEADER, ticket).map_err(failed)?;
    }
    let mut url = url.clone();
    let query = url.query().map(without_ticket);
    url.set_query(query.as_deref().filter(|query| !query.is_empty()));
    let body = request.inner().body().map(JsValue::from);
    let method = request.inner().method();
    let inner = platform::request(&method, url.as_str(), &headers, body.as_ref());
    ask_object(id, inner.map_err(failed)?, env).await
}

/// `query` without its ticket; all else as it is, for a service may read it in its own way.
fn without_ticket(query: &str) -> String {
    let rest: Vec<&str> = query
        .split('&')
        .filter(|pair| pair.split('=').next() != Some("ticket"))
        .collect();
    rest.join("&")
}

async fn ask_object(id: &str, request: Request, env: &Env) -> Result<Response> {
    let failed = |error: worker::Error| internal("the object could not be asked", error);
    let objects = env.durable_object(BINDING).map_err(failed)?;
    let object = objects.get_by_name(id).map_err(failed)?;
    object.fetch_with_request(request).await.map_err(failed)
}

/// The state of a sandbox, for a list.
async fn state_of(id: String, env: &Env) -> Result<Sandbox> {
    let failed = |error: worker::Error| internal("a sandbox could not be asked", error);
    let url = format!("http://sandbox/v1/sandbox/{id}");
    let request = Request::new(&url, Method::Get).map_err(failed)?;
    let mut answer = ask_object(&id, request, env).await?;
    let text = answer.text().await.map_err(failed)?;
    let read = serde_json::from_str(&text);
    read.map_err(|error| internal("a sandbox could not be asked", format!("{error}: {text}")))
}

/// `POST /v1/sandbox`: a name nobody has, and its options if there are any. A bridge route: what it does
/// not know it ignores.
async fn create(mut request: Request, env: &Env) -> Result<Response> {
    let (_, given) = body::json::<serde_json::Map<String, serde_json::Value>>(&mut request).await?;
    let known = ["sleepAfter", "keepAlive", "env", "enableInternet"];
    let options: serde_json::Map<_, _> = given
        .into_iter()
        .filter(|(name, _)| known.contains(&name.as_str()))
        .collect();
    let id = random_name(26);
    if !options.is_empty() {
        let options = serde_json::Value::from(options);
        let checked: OptionsRequest = sandbox_protocol::request::parse(options.clone())?;
        checked.validate()?;
        let answer = ask_object(&id, set_options(&id, &options)?, env).await?;
        if answer.status_code() >= 400 {
            return Ok(answer);
        }
    }
    json(&Created { id })
}

fn document() -> Result<Response> {
    json_text(DOCUMENT, 200)
}

fn set_options(id: &str, options: &serde_json::Value) -> Result<Request> {
    let make = || {
        let headers = Headers::new();
        headers.set("Content-Type", "application/json")?;
        let mut init = RequestInit::new();
        init.with_method(Method::Patch)
            .with_headers(headers)
            .with_body(Some(options.to_string().into()));
        Request::new_with_init(&format!("http://sandbox/v1/sandbox/{id}"), &init)
    };
    make().map_err(|error| internal("the object could not be asked", error))
}

fn preflight() -> Result<Response> {
    let make = || {
        let headers = Headers::new();
        headers.set(
            "Access-Control-Allow-Methods",
            "GET, POST, PUT, PATCH, DELETE",
        )?;
        headers.set(
            "Access-Control-Allow-Headers",
            "Authorization, Content-Type, Last-Event-ID, Prefer",
        )?;
        headers.set("Access-Control-Max-Age", "600")?;
        Ok(Response::empty()?.with_status(204).with_headers(headers))
    };
    made(make())
}

/// Lets the page of `origin`, which is one of those allowed, read the answer.
fn share(answer: Response, origin: &str) -> worker::Result<Response> {
    let headers = answer.headers().clone();
    headers.set("Access-Control-Allow-Origin", origin)?;
    headers.set(
        "Access-Control-Expose-Headers",
        "Sandbox-Build-Id, Retry-After",
    )?;
    headers.append("Vary", "Origin")?;
    Ok(answer.with_headers(headers))
}
