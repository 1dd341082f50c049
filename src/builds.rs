//! The routes of builds.

use std::rc::Rc;

use sandbox_protocol::build::{BuildList, BuildReason, BuildRequest, OnDisconnect};
use sandbox_protocol::cursor::Cursor;
use sandbox_protocol::error::{ErrorBody, ErrorCode};
use sandbox_protocol::id::BuildId;
use sandbox_protocol::log::{Format, From, LogQuery, LogRequest, Selection};
use sandbox_protocol::routes::BUILD_ID_HEADER;
use worker::{Request, Response};

use crate::answer::{self, json, made, nothing, prefers};
use crate::error::Result;
use crate::follow::{Follow, heartbeats_until};
use crate::guard::{self, closing_cursor, present};
use crate::kept_log::KeptLog;
use crate::live::{FIRST_SEAT, Live};
use crate::pass::{pass_as, passed_query, with_query};
use crate::platform::{self, Sink};
use crate::query::query_of;
use crate::records::BuildRow;
use crate::sandbox::Core;
use crate::{body, error};

/// `POST …/builds`.
pub(crate) async fn start(core: &Rc<Core>, mut request: Request) -> Result<Response> {
    let (_, mut build) = body::json::<BuildRequest>(&mut request).await?;
    let asynchronous = prefers(&request, "respond-async");
    if asynchronous {
        build.on_disconnect = Some(OnDisconnect::Continue);
    }
    let live = match guard::begin(core, &build).await {
        Ok(live) => live,
        Err(refusal) => {
            let first = refusal.context.build_id.clone();
            return refused(&refusal, first.as_deref());
        }
    };
    if asynchronous {
        let record = present(&find(core, &live.id)?);
        return named(json(&record)?.with_status(202), live.id.as_str());
    }
    if let Err(refusal) = live.started.clone().await {
        // What the refused start left behind is gone before the client hears of it.
        live.ended.clone().await;
        return refused(&refusal, Some(live.id.as_str()));
    }
    let accept = request.headers().get("Accept").ok().flatten();
    let answer = match Format::negotiate(accept.as_deref(), Format::EventStream) {
        Format::Json => final_record(core, &live)?,
        format => stream(core, &live.id, whole_log(format), Some(FIRST_SEAT))?,
    };
    named(answer, live.id.as_str())
}

fn whole_log(format: Format) -> LogRequest {
    LogRequest {
        follow: true,
        from: From::Start,
        stream: Selection::Both,
        timestamps: false,
        format,
    }
}

/// The final record as JSON, when it is there. Until then white space, which JSON allows in front: it
/// shows whether the client is still there.
fn final_record(core: &Rc<Core>, live: &Rc<Live>) -> Result<Response> {
    let (body, sink) = platform::channel();
    let (owner, live) = (Rc::clone(core), Rc::clone(live));
    core.state.wait_until(async move {
        if write_final_record(&owner, &live, &sink).await.is_err() {
            live.left(Some(FIRST_SEAT));
        }
    });
    answer::stream(body, Format::Json)
}

async fn write_final_record(
    core: &Core,
    live: &Live,
    sink: &Sink,
) -> Result<(), platform::Refused> {
    let (record, _) = heartbeats_until(core, sink, b"\n", live.ended.clone()).await?;
    // A record of ours has a JSON form.
    let text = serde_json::to_vec(&record).unwrap_or_default();
    sink.write(&text).await?;
    sink.close().await
}

/// A stream of a build, fed by a task of its own.
fn stream(
    core: &Rc<Core>,
    build: &BuildId,
    request: LogRequest,
    seat: Option<u64>,
) -> Result<Response> {
    stream_of(core, live(core, build), build, request, seat)
}

fn stream_of(
    core: &Rc<Core>,
    live: Option<Rc<Live>>,
    build: &BuildId,
    request: LogRequest,
    seat: Option<u64>,
) -> Result<Response> {
    let (body, sink) = platform::channel();
    let format = request.format;
    let follow = Follow {
        feeding: live.as_ref().map(Live::feed),
        live,
        core: Rc::clone(core),
        build: build.to_string(),
        request,
        sink,
        seat,
    };
    core.state.wait_until(follow.run());
    answer::stream(body, format)
}

fn named(answer: Response, build: &str) -> Result<Response> {
    made(answer.headers().set(BUILD_ID_HEADER, build))?;
    Ok(answer)
}

fn refused(refusal: &ErrorBody, build: Option<&str>) -> Result<Response> {
    let answer = made(error::response(refusal))?;
    match build {
        Some(build) => named(answer, build),
        None => Ok(answer),
    }
}

/// `GET …/builds`.
pub(crate) fn list(core: &Core) -> Result<Response> {
    let rows = core.records.builds()?;
    json(&BuildList {
        builds: rows.iter().map(present).collect(),
    })
}

/// The row of a build, or `BUILD_NOT_FOUND`.
pub(crate) fn find(core: &Core, id: &BuildId) -> Result<BuildRow> {
    core.records.build(id.as_str())?.ok_or_else(|| {
        ErrorBody::new(ErrorCode::BuildNotFound, format!("no build {id} is known"))
            .with(|context| context.build_id = Some(id.to_string()))
    })
}

/// `DELETE …/builds/{build}`: the final record, when the destroy is done.
pub(crate) async fn cancel(core: &Rc<Core>, id: &BuildId) -> Result<Response> {
    let row = find(core, id)?;
    match live(core, id) {
        Some(live) => json(&live.cancel(BuildReason::Cancelled).await.0),
        None => json(&present(&row)),
    }
}

/// The build's task, if one of this isolate tends it.
fn live(core: &Core, id: &BuildId) -> Option<Rc<Live>> {
    let live = core.live.borrow().clone();
    live.filter(|live| live.id == *id)
}

/// `GET …/builds/{build}/logs`.
pub(crate) async fn logs(core: &Rc<Core>, id: &BuildId, request: &Request) -> Result<Response> {
    let row = find(core, id)?;
    let asked = log_request(request)?;
    if let (From::After(cursor), Some(saved)) = (&asked.from, &row.saved) {
        check_log(cursor, saved)?;
    }
    let ended = row.record.status.is_final();
    let closing = closing_cursor(&row).position;
    if ended
        && asked.follow
        && matches!(&asked.from, From::After(c) if c.position.marks >= closing.marks)
    {
        return nothing();
    }
    if ended {
        // The beginning is looked up before the answer is: a cursor of another log is an error.
        KeptLog::open(&core.records, &row)?.begin(&asked).await?;
        return stream(core, id, asked, None);
    }
    if asked.follow {
        let seat = live(core, id).and_then(|live| live.sit());
        return stream(core, id, asked, seat);
    }
    snapshot(core, id, request, asked).await
}

/// The log of a build that has not ended, as it is now.
async fn snapshot(
    core: &Rc<Core>,
    id: &BuildId,
    request: &Request,
    asked: LogRequest,
) -> Result<Response> {
    let Some(life) = core.running_life().await? else {
        // Its container is not there yet, or not any more: what is kept is all there is.
        return stream_of(core, None, id, asked, None);
    };
    // The supervisor knows the build's log under the name of its process.
    let path = format!("/processes/{id}/logs");
    let query = passed_query(request)?;
    pass_as(
        core,
        &life,
        request,
        &with_query(&path, query.as_deref()),
        None,
    )
    .await
}

fn log_request(request: &Request) -> Result<LogRequest> {
    let query: LogQuery = query_of(request)?;
    let header = |name: &str| request.headers().get(name).ok().flatten();
    query.validate(
        header("Last-Event-ID").as_deref(),
        header("Accept").as_deref(),
    )
}

/// Refuses a cursor of another log than the one that `saved` belongs to.
fn check_log(cursor: &Cursor, saved: &str) -> Result<()> {
    match Cursor::parse(saved) {
        Some(saved) if (&saved.boot, saved.incarnation) != (&cursor.boot, cursor.incarnation) => {
            Err(ErrorBody::new(
                ErrorCode::StaleCursor,
                "the cursor belongs to another log",
            ))
        }
        _ => Ok(()),
    }
}
