//! The whole thing from outside: client → Worker → object → supervisor → process, under `wrangler dev`.
//!
//! `make test` runs it once on each engine that this machine has. By hand:
//! `E2E_ENGINE=docker|local cargo test --test e2e -- --include-ignored`.
//! Every test that starts a server is ignored by plain `cargo test`, which says so: it would install packages and
//! build an image.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on says so by panicking"
)]
#![allow(clippy::format_collect, reason = "a test is read, not timed")]

/// The client of another project, unmodified.
mod bridge;
/// The main job: a build, its log streamed, its sandbox destroyed, whatever the end.
mod builds;
/// Readers of our streams that are not ours.
mod clients;
/// The console in a real browser.
mod console;
/// The object dies in the middle of a build.
mod faults;
/// Files of the workspace, up to a gigabyte.
mod files;
/// What belongs to an earlier container never touches the present one.
mod generations;
mod harness;
/// A Worker of somebody else that uses the library.
mod library;
/// How long a sandbox stays, and what is told of it when it is gone.
mod lifecycle;
/// The list of sandboxes.
mod listing;
/// Many builds at once, a third of them cut off.
mod many;
/// Every fault at every moment of a build.
mod matrix;
/// The document of the API, and whether the API does what it says.
mod openapi;
/// Services on ports, HTTP and WebSocket.
mod ports;
/// What is kept when the container is gone.
mod records;
/// Services of a Worker of somebody else, one of them a real Redis.
mod redis;
/// What is refused, with which code, and that nothing was started for it.
mod refusals;
/// The service answers before any sandbox exists.
mod service;
/// The guide's flow: services in order, their logs, their ends.
mod services;
/// A deployment that is misconfigured.
mod settings;
/// A terminal over WebSocket.
mod terminal;
/// A log of 200 MB, byte for byte, in flat memory.
mod volume;
