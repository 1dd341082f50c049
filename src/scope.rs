//! Scopes: a stream that a caller holds for as long as it needs the sandbox. When it ends without a word, by the
//! death of the caller's isolate for one, the sandbox is destroyed.

use std::rc::Rc;

use futures::channel::oneshot;
use sandbox_protocol::log::Format;
use sandbox_protocol::sandbox::ScopeEvent;
use sandbox_protocol::sse::HEARTBEAT;
use worker::Response;

use crate::answer;
use crate::boot;
use crate::error::Result;
use crate::follow::heartbeats_until;
use crate::lifecycle::ScopeView;
use crate::platform::{self, Refused, Sink, now, random_name};
use crate::sandbox::Core;

/// How long after the end of its stream a scope destroys the sandbox, in milliseconds.
const GRACE_MS: u64 = 30_000;

/// `POST …/scope`: starts the container and opens the stream.
pub(crate) async fn open(core: &Rc<Core>) -> Result<Response> {
    boot::ensure(core).await?;
    core.touch()?;
    let id = random_name(16);
    core.records.open_scope(&id)?;
    let (tell_closed, closed) = oneshot::channel();
    core.scopes.borrow_mut().insert(id.clone(), tell_closed);
    let (body, sink) = platform::channel();
    core.state
        .wait_until(hold(Rc::clone(core), id, sink, closed));
    answer::stream(body, Format::EventStream)
}

/// `DELETE …/scope/{scope}`: the caller needs it no longer, and has seen to the sandbox itself. Idempotent.
pub(crate) fn close(core: &Core, id: &str) -> Result<()> {
    if core.records.exist()? {
        core.records.close_scope(id)?;
    }
    if let Some(tell_closed) = core.scopes.borrow_mut().remove(id) {
        // A stream that ended meanwhile does not listen any more.
        let _ = tell_closed.send(());
    }
    Ok(())
}

async fn hold(core: Rc<Core>, id: String, sink: Sink, closed: oneshot::Receiver<()>) {
    let ended = match write_first(&sink, &id).await {
        Ok(()) => heartbeats_until(&core, &sink, HEARTBEAT, closed).await,
        Err(refused) => Err(refused),
    };
    core.scopes.borrow_mut().remove(&id);
    let settled = match ended {
        Ok(_) => {
            // The client may have gone after its last word.
            let _ = sink.close().await;
            return;
        }
        Err(Refused) => ends(&core, &id).await,
    };
    if let Err(error) = settled {
        // The next look finds a scope that nobody holds.
        worker::console_error!("{error}");
    }
}

async fn write_first(sink: &Sink, id: &str) -> Result<(), Refused> {
    let event = ScopeEvent::new(id, now());
    // An event of ours has a JSON form.
    let json = serde_json::to_string(&event).unwrap_or_default();
    sink.write(format!("data: {json}\n\n").as_bytes()).await
}

async fn ends(core: &Rc<Core>, id: &str) -> Result<()> {
    core.records.end_scope(id, now().plus_ms(GRACE_MS))?;
    core.settle().await
}

/// What the scopes ask of the sandbox. One whose stream died with an earlier isolate begins to end now.
pub(crate) fn look(core: &Core) -> Result<ScopeView> {
    let mut view = ScopeView::None;
    for scope in core.records.scopes()? {
        let held = core.scopes.borrow().contains_key(&scope.id);
        let ends_at = match scope.ends_at {
            None if !held => {
                let at = now().plus_ms(GRACE_MS);
                core.records.end_scope(&scope.id, at)?;
                Some(at)
            }
            ends_at => ends_at,
        };
        view = view.and(ends_at);
    }
    Ok(view)
}
