//! The whole thing from outside: client → Worker → object → supervisor → process, under `wrangler dev`.
//!
//! `make test` runs it once on each engine that this machine has. By hand:
//! `E2E_ENGINE=docker|local cargo test --test e2e -- --include-ignored`.
//! Every test is ignored by plain `cargo test`, which says so: it would install packages and build an image.

mod harness;
/// The service answers before any sandbox exists.
mod service;
