//! Where a sandbox runs: the only user of the platform's container and of the local engine.

use std::collections::BTreeMap;

use sandbox_protocol::routes::{SUPERVISOR_PORT, TOKEN_VARIABLE};
use serde::{Deserialize, Serialize};
use worker::js_sys::{Object, Reflect};
use worker::wasm_bindgen::{JsCast, JsValue};
use worker::wasm_bindgen_futures::JsFuture;
use worker::{Fetch, Headers, Method, Request, RequestInit, Response, State};

use crate::platform;
use crate::settings::Settings;

/// The two places where a sandbox can run. Everything above this is the same on both.
pub(crate) enum Container {
    /// The platform's: Cloudflare's when deployed, Docker's under `wrangler dev`.
    Platform {
        container: platform::Container,
        /// Whether one that ended by itself stays listed, as Docker has it.
        keeps_ended: bool,
    },
    /// One supervisor per sandbox on this machine, for development without Docker.
    Local(Slot),
}

/// A sandbox's place in a running `sandbox-supervisor engine`.
pub(crate) struct Slot {
    /// The engine's address, then the sandbox's id.
    url: String,
    /// What the engine demands.
    secret: String,
}

/// What a container is started with.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Startup {
    /// What the supervisor will demand on every call.
    pub(crate) token: String,
    /// Variables of the container.
    pub(crate) env: BTreeMap<String, String>,
    /// Whether it reaches the internet.
    #[serde(skip)]
    pub(crate) enable_internet: bool,
}

impl Startup {
    /// What serves nobody: its token is forgotten.
    fn of_nobody() -> Self {
        Self {
            token: platform::random_name(52),
            env: BTreeMap::new(),
            enable_internet: false,
        }
    }
}

#[derive(Deserialize)]
struct EngineStatus {
    running: bool,
}

impl Container {
    /// The container of the object `state` with the name `id`; `None` where there is neither a container
    /// nor a local engine.
    pub(crate) fn of(state: &State, settings: &Settings, id: &str) -> Option<Self> {
        if let Some(container) = state.container() {
            return Some(Self::Platform {
                container: JsValue::from(container).unchecked_into(),
                keeps_ended: settings.docker,
            });
        }
        settings.local_engine.as_ref().map(|engine| {
            Self::Local(Slot {
                url: format!("{}/{id}", engine.url),
                secret: engine.secret.clone(),
            })
        })
    }

    /// Whether it runs. A running one need not answer yet.
    pub(crate) async fn running(&self) -> worker::Result<bool> {
        match self {
            Self::Platform { container, .. } => Ok(container.running()),
            Self::Local(slot) => {
                let mut answer = slot.call(Method::Get, "/status", None).await?;
                Ok(answer.json::<EngineStatus>().await?.running)
            }
        }
    }

    /// Starts it. That it answers is for the caller to find out.
    pub(crate) async fn start(&self, startup: &Startup) -> worker::Result<()> {
        match self {
            Self::Platform { container, .. } => {
                container.start(&start_options(startup)?)?;
                Ok(())
            }
            Self::Local(slot) => {
                let body = serde_json::to_string(startup)?;
                slot.call(Method::Post, "/start", Some(body)).await?;
                Ok(())
            }
        }
    }

    /// Ends it at once and returns when it is gone, from the engine's list too. No error if it does not run.
    pub(crate) async fn destroy(&self) -> worker::Result<()> {
        match self {
            Self::Platform {
                container,
                keeps_ended,
            } => {
                if *keeps_ended && !container.running() {
                    // workerd's `destroy()` does nothing for one that it saw end, and has no other call that
                    // removes it. A start takes over its name and its place; that one can be destroyed.
                    container.start(&start_options(&Startup::of_nobody())?)?;
                }
                JsFuture::from(container.destroy()?).await?;
                Ok(())
            }
            Self::Local(slot) => {
                slot.call(Method::Delete, "", None).await?;
                Ok(())
            }
        }
    }

    /// Keeps it for `ms` milliseconds although the object may be evicted meanwhile.
    pub(crate) async fn outlive_eviction(&self, ms: u64) -> worker::Result<()> {
        match self {
            #[expect(clippy::cast_precision_loss, reason = "a few minutes")]
            Self::Platform { container, .. } => {
                JsFuture::from(container.set_inactivity_timeout(ms as f64)?).await?;
                Ok(())
            }
            // The local engine keeps a sandbox until it is told otherwise.
            Self::Local(_) => Ok(()),
        }
    }

    /// Resolves when it has stopped, for whatever reason, with what the platform says of it. The local engine tells
    /// no such thing by itself: there a supervisor that is gone shows in the calls to it, which break off.
    pub(crate) async fn stopped(&self) -> Option<String> {
        match self {
            Self::Platform { container, .. } => match container.monitor() {
                Ok(monitor) => JsFuture::from(monitor).await.err(),
                // It never ran, or the platform has forgotten it.
                Err(error) => Some(error),
            }
            .map(|error| worker::Error::from(error).to_string()),
            Self::Local(_) => futures::future::pending().await,
        }
    }

    /// Asks the supervisor. `body` is text or a native stream. What asks for an upgrade is answered with a
    /// WebSocket, to be handed on.
    pub(crate) async fn fetch(
        &self,
        method: &str,
        path_and_query: &str,
        headers: Headers,
        body: Option<JsValue>,
    ) -> worker::Result<Response> {
        match self {
            Self::Platform { container, .. } => {
                let port = container.fetcher(SUPERVISOR_PORT)?;
                let url = format!("http://supervisor{path_and_query}");
                let request = platform::request(method, &url, &headers, body.as_ref())?;
                port.fetch_request(request).await
            }
            Self::Local(slot) => {
                headers.set("Sandbox-Engine-Secret", &slot.secret)?;
                let url = format!("{}/port{path_and_query}", slot.url);
                let request = platform::request(method, &url, &headers, body.as_ref())?;
                let answer = Fetch::Request(request).send().await?;
                // The supervisor answers 502 only for a service behind it, and says so in JSON of its own.
                match answer.headers().get("Sandbox-Engine-Error")? {
                    Some(error) => Err(error.into()),
                    None => Ok(answer),
                }
            }
        }
    }
}

impl Slot {
    async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<String>,
    ) -> worker::Result<Response> {
        let headers = Headers::new();
        headers.set("Sandbox-Engine-Secret", &self.secret)?;
        headers.set("Content-Type", "application/json")?;
        let mut init = RequestInit::new();
        init.with_method(method)
            .with_headers(headers)
            .with_body(body.map(JsValue::from));
        let request = Request::new_with_init(&format!("{}{path}", self.url), &init)?;
        let mut answer = Fetch::Request(request).send().await?;
        if answer.status_code() < 400 {
            return Ok(answer);
        }
        let said = answer.text().await?;
        Err(format!("the local engine answered {}: {said}", answer.status_code()).into())
    }
}

/// The options of `start()` as the platform reads them: a plain object with own properties.
fn start_options(startup: &Startup) -> Result<Object, JsValue> {
    let env = Object::new();
    for (name, value) in &startup.env {
        Reflect::set(&env, &name.into(), &value.into())?;
    }
    Reflect::set(&env, &TOKEN_VARIABLE.into(), &(&startup.token).into())?;
    let options = Object::new();
    Reflect::set(&options, &"env".into(), &env)?;
    let internet = JsValue::from_bool(startup.enable_internet);
    Reflect::set(&options, &"enableInternet".into(), &internet)?;
    Ok(options)
}
