//! The supervisor from outside: the real binary, real processes, over its HTTP API.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod groups;
mod harness;
mod proc;

mod auth;
mod boot;
mod cgroup;
mod engine;
mod exec;
mod files;
mod kill;
mod logs;
mod ports;
mod processes;
mod pty;
mod ready;
mod workspace;
