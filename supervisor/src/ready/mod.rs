//! Whether a process is ready: conditions, each met by an event.

mod pattern;

pub use pattern::{check, find};
