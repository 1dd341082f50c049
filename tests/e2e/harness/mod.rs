//! Starts the Worker as `make dev` does, speaks to it, and looks for what it left behind.
//!
//! - [`Dev`] is a running server: [`Dev::shared`] for a test that disturbs nobody, [`Dev::start`] for one that
//!   kills or reloads the Worker or needs other settings.
//! - [`Sandbox`] is an id that no other test uses, and what the machine has of it: containers or processes.
//! - [`Call`], [`Answer`] and [`Events`] are the client. Dropping an answer hangs up. A [`Proxy`] between a client
//!   and the server breaks connections; [`script`] and [`python`] run clients
//!   that are not ours.
//!
//! Whatever is waited for has a limit, and passing it fails the test with what was waited for.
// Each test uses a part of it.
#![allow(dead_code, unused_imports)]

mod client;
mod dev;
mod processes;
mod proxy;
pub(crate) mod python;
mod sandbox;
pub(crate) mod script;
mod server;
mod socket;
mod storage;

pub(crate) use client::{Answer, Call, Event, Events};
pub(crate) use dev::{Dev, Engine, Setup};
pub(crate) use proxy::Proxy;
pub(crate) use sandbox::Sandbox;
pub(crate) use socket::Socket;

use std::time::Duration;

/// Awaits `future` for at most `limit`; fails the test with `what` otherwise.
pub(crate) async fn within<T>(limit: Duration, what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(limit, future)
        .await
        .unwrap_or_else(|_| panic!("{what} took more than {limit:?}"))
}

/// Looks every 50 ms until `look` gives something, for what sends no event: a process or container of another.
pub(crate) async fn eventually<T>(
    limit: Duration,
    what: &str,
    mut look: impl FnMut() -> Option<T>,
) -> T {
    within(limit, what, async {
        let mut ticks = tokio::time::interval(Duration::from_millis(50));
        loop {
            ticks.tick().await;
            if let Some(found) = look() {
                return found;
            }
        }
    })
    .await
}
