//! What the object does for each call: it answers itself, starts the container or does not, and passes on.

use std::rc::Rc;

use sandbox_protocol::error::{ErrorBody, ErrorCode};
use sandbox_protocol::exec::ExecRequest;
use sandbox_protocol::process::{KillAllReceipt, KillRequest, ProcessRequest};
use sandbox_protocol::ready::ConditionRequest;
use sandbox_protocol::sandbox::{EventList, Running};
use sandbox_protocol::terminal::TerminalQuery;
use worker::wasm_bindgen::JsValue;
use worker::{Request, Response};

use crate::answer::{json, nothing, prefers};
use crate::error::{Result, unavailable};
use crate::guard::present;
use crate::pass::{active, pass, start_and_pass, start_process};
use crate::platform::within;
use crate::query::query_of;
use crate::records::Life;
use crate::router::{Call, Route, route};
use crate::sandbox::{Core, asleep};
use crate::{body, builds, kept, options, relay, scope, tickets};

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
            let (_, given) = body::json(&mut request).await?;
            options::set(core, given).await?;
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
        Call::BuildLogs(id) => builds::logs(core, &id, &request).await,
        Call::StartProcess => {
            let (text, process) = body::json::<ProcessRequest>(&mut request).await?;
            process.validate()?;
            start_process(core, &request, text).await
        }
        Call::Exec => {
            let (text, exec) = body::json::<ExecRequest>(&mut request).await?;
            exec.validate()?;
            start_and_pass(core, &request, Some(text.into())).await
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
            start_and_pass(core, &request, stream).await
        }
        Call::KillAll => match core.running_life().await? {
            Some(life) => active(core, &life, &request, None).await,
            None => json(&KillAllReceipt::default()),
        },
        Call::Kill(_) => {
            let (text, kill) = body::json::<KillRequest>(&mut request).await?;
            kill.validate()?;
            kept::or_pass(core, &call, &request, given(text)).await
        }
        Call::Wait(_) => {
            let (text, wait) = body::json::<ConditionRequest>(&mut request).await?;
            wait.validate_wait()?;
            kept::or_pass(core, &call, &request, given(text)).await
        }
        Call::ListProcesses
        | Call::GetProcess(_)
        | Call::ForgetProcess(_)
        | Call::ProcessLogs(_)
        | Call::Stats(_) => kept::or_pass(core, &call, &request, None).await,
        Call::OpenScope => scope::open(core).await,
        Call::CloseScope(id) => {
            scope::close(core, id.as_str())?;
            nothing()
        }
        Call::Stdin(_) => {
            let stream = request.inner().body().map(JsValue::from);
            let life = awake(core).await?;
            active(core, &life, &request, stream).await
        }
        Call::ReadFile | Call::DeleteFile | Call::Persist => {
            let life = awake(core).await?;
            pass(core, &life, &request, None).await
        }
        Call::Limits => match core.running_life().await? {
            Some(life) => pass(core, &life, &request, None).await,
            None => json(&last_limits(core)?),
        },
        Call::Pty => {
            relay::check_upgrade(&request)?;
            let query: TerminalQuery = query_of(&request)?;
            query.validate()?;
            relay::whole(core, request).await
        }
        Call::Port(_) => relay::whole(core, request).await,
    }
}

/// `text` as a body; none if there is none, which a body of no bytes and some type is not.
fn given(text: String) -> Option<JsValue> {
    (!text.is_empty()).then(|| text.into())
}

/// The life of a container that runs; never starts one.
async fn awake(core: &Rc<Core>) -> Result<Life> {
    core.running_life().await?.ok_or_else(|| asleep(core))
}

/// The limits of the last container, which the next one has too unless the deployment changes.
fn last_limits(core: &Core) -> Result<serde_json::Value> {
    core.records.limits()?.ok_or_else(|| {
        ErrorBody::new(
            ErrorCode::SandboxNotRunning,
            "the sandbox has never run: its limits are those of a container, which says them",
        )
        .suggest("start a process, a build or a command; this call alone starts nothing")
    })
}

async fn destroy(core: &Rc<Core>, request: &Request) -> Result<Response> {
    let receipt = core.end("requested").await;
    // So that a list that is asked for next tells of it. A registry that is slow hears of it from the alarm.
    if let Some(Err(error)) = within(1000, core.announce_now()).await {
        worker::console_warn!("it will be announced again: {error}");
    }
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
