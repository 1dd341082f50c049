//! What the object does for each call: the lifecycle around it. What it does not answer itself is passed to
//! the supervisor and back, bodies untouched.

use std::rc::Rc;

use sandbox_protocol::error::{ErrorBody, ErrorCode};
use sandbox_protocol::exec::ExecRequest;
use sandbox_protocol::process::{KillAllReceipt, KillRequest, Process, ProcessRequest};
use sandbox_protocol::ready::ConditionRequest;
use sandbox_protocol::sandbox::{EventList, OptionsRequest, Running};
use serde::Serialize;
use worker::wasm_bindgen::JsValue;
use worker::{Headers, Request, Response, ResponseBuilder};

use crate::error::{Result, internal, unavailable};
use crate::guard::present;
use crate::lifecycle::lease;
use crate::platform::now;
use crate::records::Life;
use crate::router::{Call, Route, route, supervisor_path};
use crate::sandbox::Core;
use crate::{body, boot, builds, kept, relay, scope, tickets};

/// Answers `request`, which the Worker has let in.
pub(crate) async fn answer(core: &Rc<Core>, mut request: Request) -> Result<Response> {
    let Route::Sandbox(_, call) = route(request.method().as_ref(), &request.path())? else {
        return Err(ErrorBody::new(
            ErrorCode::RouteNotFound,
            "the object has no such route",
        ));
    };
    core.settings()?;
    tickets::check(core, &call, &request)?;
    match call {
        Call::State => json(&core.view().await?),
        Call::SetOptions => {
            let (_, options) = body::json(&mut request).await?;
            set_options(core, options).await?;
            json(&core.view().await?)
        }
        Call::Destroy => destroy(core, &request).await,
        Call::Running => json(&Running {
            running: core.container_running().await?,
        }),
        Call::Events => json(&EventList {
            events: core.records.events()?,
        }),
        Call::CreateTicket => json(&tickets::create(core)?),
        Call::StartBuild => builds::start(core, request).await,
        Call::ListBuilds => builds::list(core),
        Call::GetBuild(id) => json(&present(&builds::find(core, &id)?)),
        Call::CancelBuild(id) => builds::cancel(core, &id).await,
        Call::BuildLogs(id) => builds::logs(core, &id, request).await,
        Call::StartProcess => {
            let (text, process) = body::json::<ProcessRequest>(&mut request).await?;
            process.validate()?;
            start_process(core, request, text).await
        }
        Call::Exec => {
            let (text, exec) = body::json::<ExecRequest>(&mut request).await?;
            exec.validate()?;
            start_and_pass(core, request, Some(text.into())).await
        }
        Call::WriteFile | Call::Hydrate => {
            let stream = request.inner().body().map(JsValue::from);
            let length = request.headers().get("Content-Length").ok().flatten();
            let empty = stream.is_none() || length.as_deref() == Some("0");
            if matches!(call, Call::Hydrate) && empty {
                return Err(ErrorBody::new(
                    ErrorCode::ValidationFailed,
                    "the body is empty; send a tar archive",
                ));
            }
            start_and_pass(core, request, stream).await
        }
        Call::KillAll => match core.running_life().await? {
            Some(life) => active(core, &life, request, None).await,
            None => json(&KillAllReceipt::default()),
        },
        Call::Kill(_) => {
            let (text, kill) = body::json::<KillRequest>(&mut request).await?;
            kill.validate()?;
            kept::or_pass(core, &call, request, given(text)).await
        }
        Call::Wait(_) => {
            let (text, wait) = body::json::<ConditionRequest>(&mut request).await?;
            wait.validate_wait()?;
            kept::or_pass(core, &call, request, given(text)).await
        }
        Call::ListProcesses
        | Call::GetProcess(_)
        | Call::ForgetProcess(_)
        | Call::ProcessLogs(_)
        | Call::Stats(_) => kept::or_pass(core, &call, request, None).await,
        Call::OpenScope => scope::open(core).await,
        Call::CloseScope(id) => {
            scope::close(core, id.as_str())?;
            nothing()
        }
        Call::Stdin(_) => {
            let stream = request.inner().body().map(JsValue::from);
            let life = awake(core).await?;
            active(core, &life, request, stream).await
        }
        Call::ReadFile | Call::DeleteFile | Call::Persist | Call::Limits => {
            let life = awake(core).await?;
            pass(core, &life, request, None).await
        }
        Call::Pty => {
            relay::check_upgrade(&request)?;
            relay::whole(core, request).await
        }
        Call::Port(_) => relay::whole(core, request).await,
    }
}

/// `text` as a body; none if there is none, which a body of no bytes and some type is not.
fn given(text: String) -> Option<JsValue> {
    (!text.is_empty()).then(|| text.into())
}

/// Passes a call that may start the container.
async fn start_and_pass(
    core: &Rc<Core>,
    request: Request,
    body: Option<JsValue>,
) -> Result<Response> {
    let life = boot::ensure(core).await?;
    active(core, &life, request, body).await
}

/// Starts a process, and remembers it: should its container die, somebody must know that it ran.
async fn start_process(core: &Rc<Core>, request: Request, body: String) -> Result<Response> {
    let life = boot::ensure(core).await?;
    let mut answer = active(core, &life, request, Some(body.into())).await?;
    if answer.status_code() >= 300 {
        return Ok(answer);
    }
    let failed = |error: worker::Error| internal("the answer could not be read", error);
    let (status, text) = (answer.status_code(), answer.text().await.map_err(failed)?);
    let process: Process =
        sandbox_protocol::request::parse(&mut serde_json::Deserializer::from_str(&text))?;
    core.records.keep_processes(life.generation, &[process])?;
    ResponseBuilder::new()
        .with_status(status)
        .with_header("Content-Type", "application/json")
        .and_then(|builder| builder.ok(text))
        .map(|answer| answer.with_status(status))
        .map_err(failed)
}

/// Passes a call that counts as activity.
pub(crate) async fn active(
    core: &Rc<Core>,
    life: &Life,
    request: Request,
    body: Option<JsValue>,
) -> Result<Response> {
    core.touch()?;
    pass(core, life, request, body).await
}

/// Passes a call and its answer.
pub(crate) async fn pass(
    core: &Rc<Core>,
    life: &Life,
    request: Request,
    body: Option<JsValue>,
) -> Result<Response> {
    let failed = |error: worker::Error| internal("the call could not be passed on", error);
    let path = passed_path(&request)?;
    let headers = Headers::new();
    for name in ["Accept", "Content-Type", "Last-Event-ID"] {
        if let Some(value) = request.headers().get(name).map_err(failed)? {
            headers.set(name, &value).map_err(failed)?;
        }
    }
    let client = core.client(life)?;
    let method = request.inner().method();
    let answer = client.pass(&method, &path, headers, body).await;
    match answer {
        Ok(answer) => Ok(answer),
        Err(error) => Err(broken_off(core, life, &error).await),
    }
}

/// The path and query of `request` as the supervisor knows them.
pub(crate) fn passed_path(request: &Request) -> Result<String> {
    let url = request
        .url()
        .map_err(|error| internal("the call could not be passed on", error))?;
    let path = supervisor_path(url.path());
    Ok(url
        .query()
        .map_or_else(|| path.to_owned(), |query| format!("{path}?{query}")))
}

/// Why a call to the supervisor broke off: the sandbox was destroyed meanwhile, or the container is gone.
pub(crate) async fn broken_off(core: &Rc<Core>, life: &Life, error: &worker::Error) -> ErrorBody {
    let current = core.records.life().ok().flatten();
    let same = current.is_some_and(|current| {
        current.generation == life.generation && current.status == life.status
    });
    if !same || core.stopping.borrow().is_some() {
        return crate::sandbox::interrupted();
    }
    match core.container_running().await {
        Ok(true) => unavailable("unreachable", format!("the supervisor broke off: {error}")),
        _ => unavailable(
            boot::CONTAINER_DIED,
            "the container stopped during the call",
        ),
    }
}

/// The life of a container that runs; never starts one.
async fn awake(core: &Rc<Core>) -> Result<Life> {
    core.running_life().await?.ok_or_else(|| asleep(core))
}

/// The sandbox sleeps, or is on its way to, and the call may not wake it.
pub(crate) fn asleep(core: &Core) -> ErrorBody {
    if core.stopping.borrow().is_some() {
        return crate::sandbox::interrupted();
    }
    ErrorBody::new(ErrorCode::SandboxNotRunning, "the sandbox is not running")
        .suggest("start a process, a build or a command; this call alone starts nothing")
}

async fn set_options(core: &Rc<Core>, request: OptionsRequest) -> Result<()> {
    request.validate()?;
    let mut options = core.records.options()?;
    if let Some(sleep_after) = request.sleep_after {
        options.sleep_after_ms = sleep_after.0;
    }
    if let Some(enable) = request.enable_internet {
        options.enable_internet = enable;
    }
    if let Some(keep_alive) = request.keep_alive {
        options.keep_alive = keep_alive;
    }
    let env_changes = !request.env.is_empty();
    options.env.extend(request.env);
    core.records.set_options(&options)?;
    let Some(mut life) = core.running_life().await? else {
        return Ok(());
    };
    if request.keep_alive.is_some() {
        life.lease_until = lease(
            options.keep_alive,
            now(),
            core.settings()?.max_keep_alive_ms,
        );
        core.records.set_life(&life)?;
        let detail = life
            .lease_until
            .map_or("ended".to_owned(), |until| format!("until {until}"));
        core.event(life.generation, "lease", Some(detail))?;
    }
    if env_changes {
        let set = core.client(&life)?.set_environment(&options.env).await;
        set.map_err(|failure| {
            internal("the environment could not be set", format!("{failure:?}"))
        })?;
    }
    // The new options may end the sandbox sooner than the alarm would look.
    let armed = core.arm(1000).await;
    armed.map_err(|error| internal("the alarm could not be set", error))
}

async fn destroy(core: &Rc<Core>, request: &Request) -> Result<Response> {
    let receipt = core.end("requested").await;
    if !receipt.container_destroyed {
        return Err(unavailable(
            "destroyUnfinished",
            "the container is not gone yet; the object goes on with it",
        ));
    }
    if prefers(request, "return=representation") {
        return json(&receipt);
    }
    nothing()
}

/// The answer that says nothing.
fn nothing() -> Result<Response> {
    Response::empty()
        .map(|answer| answer.with_status(204))
        .map_err(|error| internal("the answer could not be made", error))
}

/// Whether the `Prefer` header has `preference`.
pub(crate) fn prefers(request: &Request, preference: &str) -> bool {
    let header = request
        .headers()
        .get("Prefer")
        .ok()
        .flatten()
        .unwrap_or_default();
    header
        .split([',', ';'])
        .any(|part| part.trim().eq_ignore_ascii_case(preference))
}

/// `value` as a JSON answer.
pub(crate) fn json(value: &impl Serialize) -> Result<Response> {
    ResponseBuilder::new()
        .from_json(value)
        .map_err(|error| internal("the answer could not be made", error))
}
