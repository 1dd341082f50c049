//! What crosses the wire between client, Worker, object and supervisor.
//!
//! A client calls the Worker, the Worker hands the call to the object of that sandbox, and the object
//! hands the same path and body to the supervisor. These are the types of all three hops.
//!
//! Invariants:
//! - knows neither `worker` nor `tokio`, does no I/O, reads no clock;
//! - a request is parsed and checked here ([`request::parse`], then `validate`), so that the Worker can
//!   refuse it before a container starts and the supervisor refuses it with the same words;
//! - what is on the wire may gain fields and never loses or renames one: `tests/wire/*.json` are golden.

pub mod build;
pub mod cursor;
pub mod error;
pub mod exec;
pub mod file;
pub mod id;
pub mod kept;
pub mod limit;
pub mod log;
#[cfg(feature = "openapi")]
pub mod openapi;
pub mod process;
pub mod ready;
pub mod request;
pub mod routes;
pub mod sandbox;
pub mod service;
pub mod signal;
pub mod sse;
pub mod terminal;
pub mod ticket;
pub mod time;
