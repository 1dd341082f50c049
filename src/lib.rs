//! A sandbox for builds and untrusted commands on Cloudflare, as a Worker written in Rust.
//!
//! ```text
//! client ──▶ Worker ──▶ object, one per sandbox id ──▶ supervisor, in the container ──▶ processes
//! ```
//!
//! # As a library
//!
//! A Worker of your own calls the same sandboxes through [`get_sandbox`]. Depend on this crate with
//! `default-features = false`, and name the class `Sandbox`, which it brings along, in your wrangler.toml.
//!
//! # Layout
//!
//! - `sdk`: the library.
//! - `router`, `auth`: the Worker's part of a request, pure; `front` puts it together.
//! - `object`: the class, and its ways in; `sandbox`: what an object knows; `alarm` looks at it, `status` says what
//!   there is of it.
//! - `calls`, `options`, `builds`, `relay` are its routes; `pass` hands on to the supervisor; `kept`, `kept_log`
//!   with `log_page`, and `tickets` answer from the rows.
//! - `guard`: the finally around a build, `live` what others have of it; `follow` is a client's stream of one.
//! - `scope`: a stream whose end destroys the sandbox; `registry`: which sandboxes there are.
//! - `lifecycle`: what is to be done now, pure; `boot` is the way up, `teardown` the way down, `refusal` what the
//!   platform says when there is no way up.
//! - `records` alone knows SQLite, `container` alone knows where a sandbox runs, `client` what the
//!   supervisor can be asked, `platform` what the `worker` crate does not bind.
//!
//! # Invariants
//!
//! - What a process prints never enters wasm; the platform moves it. The kept log is the one exception.
//! - What must be cleaned up is written down before it exists.
//! - Nothing here names tokio.

mod alarm;
mod answer;
#[cfg(feature = "entry")]
mod auth;
mod body;
mod boot;
mod builds;
mod calls;
mod client;
mod container;
mod error;
mod follow;
#[cfg(feature = "entry")]
mod front;
mod guard;
mod kept;
mod kept_log;
mod lifecycle;
mod live;
mod log_page;
mod object;
mod options;
mod pass;
mod platform;
mod query;
mod records;
mod refusal;
mod registry;
mod relay;
mod router;
mod sandbox;
mod scope;
mod sdk;
mod settings;
mod status;
mod teardown;
mod tickets;

pub use sdk::*;

/// The Worker's entry.
#[cfg(feature = "entry")]
mod entry {
    use worker::{Context, Env, Request, Response, event};

    #[event(fetch)]
    async fn fetch(request: Request, env: Env, _context: Context) -> worker::Result<Response> {
        crate::front::serve(request, &env).await
    }

    #[event(start)]
    fn start() {
        console_error_panic_hook::set_once();
    }
}
