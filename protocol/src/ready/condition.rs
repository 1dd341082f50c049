//! A condition that was checked.

use super::{Pattern, PortMode, StatusRange};

/// A condition that was checked.
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    /// A listener on a port.
    Port(PortCheck),
    /// A line of the log.
    Log(Pattern),
    /// The process's end.
    Exit,
    /// A command that exits 0.
    Exec(ExecCheck),
    /// A file that exists.
    File(FileCheck),
    /// Every one of these.
    All(Vec<Condition>),
    /// The first of these.
    Any(Vec<Condition>),
}

/// A port to probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortCheck {
    /// The port.
    pub port: u16,
    /// How it is probed.
    pub mode: PortMode,
    /// The path of an HTTP probe.
    pub path: String,
    /// Which statuses are good.
    pub status: StatusRange,
    /// The pause between two probes, in milliseconds.
    pub interval_ms: u64,
}

/// A command to probe with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecCheck {
    /// The words; at least one.
    pub argv: Vec<String>,
    /// The pause between two runs, in milliseconds.
    pub interval_ms: u64,
}

/// A file to wait for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileCheck {
    /// Its path; relative to the process's folder.
    pub path: String,
    /// How often it is looked for besides, in milliseconds; `None` relies on the kernel to tell of it.
    pub interval_ms: Option<u64>,
}
