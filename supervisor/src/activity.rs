//! The calls that keep a sandbox awake: each counts from when it comes until its answer is out, however long that
//! takes. A command that runs for an hour, or a client that follows, is one such call.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::Body;
use axum::extract::{Query, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;
use sandbox_protocol::log::LogQuery;
use sandbox_protocol::request::parse_query;
use sandbox_protocol::routes::{Activity, ENVIRONMENT};
use sandbox_protocol::time::Timestamp;

use crate::held::Held;
use crate::logs::now;

/// The calls that are being answered. A cheap clone.
#[derive(Clone, Debug, Default)]
pub struct Calls(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    /// When each began, with a number that makes it another than the others.
    open: BTreeSet<(Timestamp, u64)>,
    begun: u64,
    ended_at: Option<Timestamp>,
}

/// A call that is being answered; it ends when the last of these is dropped. A cheap clone.
#[derive(Clone, Debug)]
pub(crate) struct Open {
    _call: Arc<Call>,
}

#[derive(Debug)]
struct Call {
    calls: Calls,
    key: (Timestamp, u64),
    /// Whether its end is told, too.
    weight: Weight,
}

/// How much a call counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weight {
    /// To look is no activity: a state, a list, a snapshot of a log, what the object asks for itself.
    None,
    /// What moves files out is none either, but is not to be broken off.
    WhileOpen,
    /// All else.
    Activity,
}

impl Calls {
    /// What there is to tell of them.
    #[must_use]
    pub fn activity(&self) -> Activity {
        let inner = self.lock();
        Activity {
            open_since: inner.open.last().map(|(since, _)| *since),
            ended_at: inner.ended_at,
        }
    }

    fn open(&self, weight: Weight) -> Open {
        let mut inner = self.lock();
        inner.begun += 1;
        let key = (now(), inner.begun);
        inner.open.insert(key);
        let calls = self.clone();
        Open {
            _call: Arc::new(Call { calls, key, weight }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let mut inner = self.calls.lock();
        inner.open.remove(&self.key);
        if self.weight == Weight::Activity {
            inner.ended_at = Some(now());
        }
    }
}

/// Counts `request` where it counts as activity. What goes on after the answer, an upgraded connection, finds the
/// [`Open`] among the request's extensions and keeps it.
pub(crate) async fn count(
    State(calls): State<Calls>,
    mut request: Request,
    next: Next,
) -> Response {
    let weight = weight(&request);
    if weight == Weight::None {
        return next.run(request).await;
    }
    let open = calls.open(weight);
    request.extensions_mut().insert(open.clone());
    let response = next.run(request).await;
    response.map(|body| Body::new(Held::new(body, open)))
}

fn weight(request: &Request) -> Weight {
    let (path, method) = (request.uri().path(), request.method());
    let asks_to_follow = || {
        let pairs = Query::<Vec<(String, String)>>::try_from_uri(request.uri());
        let query = pairs.map(|Query(pairs)| parse_query::<LogQuery>(pairs));
        query.is_ok_and(|query| query.is_ok_and(|query| query.follows()))
    };
    let looks = matches!(*method, Method::GET | Method::HEAD);
    if path.starts_with("/ports/") || path == "/pty" {
        Weight::Activity
    } else if path == "/persist" || path.starts_with("/file/") && *method != Method::PUT {
        Weight::WhileOpen
    } else if path == ENVIRONMENT || looks && !(path.ends_with("/logs") && asks_to_follow()) {
        Weight::None
    } else {
        Weight::Activity
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::extract::Request;

    use super::{Calls, Weight, weight};

    #[test]
    fn to_look_is_no_activity_and_to_follow_is() {
        for (method, uri, wanted) in [
            ("GET", "/processes", Weight::None),
            ("GET", "/processes/a/logs", Weight::None),
            ("GET", "/processes/a/logs?tail=1&follow=false", Weight::None),
            (
                "GET",
                "/processes/a/logs?tail=1&follow=true",
                Weight::Activity,
            ),
            ("GET", "/processes/a/kept?since=x", Weight::None),
            ("PUT", "/environment", Weight::None),
            ("POST", "/exec", Weight::Activity),
            ("GET", "/file/workspace/a", Weight::WhileOpen),
            ("PUT", "/file/workspace/a", Weight::Activity),
            ("POST", "/persist", Weight::WhileOpen),
            ("GET", "/files/workspace", Weight::None),
            ("GET", "/ports/80/logs", Weight::Activity),
        ] {
            let request = Request::builder().method(method).uri(uri);
            let request = request.body(Body::empty()).unwrap();
            assert_eq!(weight(&request), wanted, "{method} {uri}");
        }
    }

    #[test]
    fn a_call_counts_until_the_last_hold_on_it_is_gone() {
        let calls = Calls::default();
        assert_eq!(calls.activity().open_since, None);
        let (first, second) = (calls.open(Weight::Activity), calls.open(Weight::WhileOpen));
        let held = first.clone();
        drop((first, second));
        assert!(calls.activity().open_since.is_some());
        drop(held);
        let activity = calls.activity();
        assert!(activity.open_since.is_none() && activity.ended_at.is_some());
    }
}
