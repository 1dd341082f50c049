//! What `/proc` tells of the processes that the tests started.

use rustix::process::{Pid, Signal, kill_process};
use std::fs;

/// A process that is not a zombie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    parent: u32,
    pub(crate) name: String,
    pub(crate) command: String,
}

impl Process {
    /// Kills it, unless it is gone already.
    pub(crate) fn kill(&self) {
        self.signal(Signal::KILL);
    }

    /// Signals it, unless it is gone already.
    pub(crate) fn signal(&self, signal: Signal) {
        signal_pid(self.pid, signal);
    }
}

/// Signals a process, unless it is gone already.
pub(super) fn signal_pid(pid: u32, signal: Signal) {
    {
        let pid = i32::try_from(pid)
            .ok()
            .and_then(Pid::from_raw)
            .expect("a pid is positive");
        match kill_process(pid, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => {}
            Err(error) => panic!("signal {pid:?}: {error}"),
        }
    }
}

/// Every descendant of `root`, parents before children; without `root` itself.
pub(crate) fn descendants(root: u32) -> Vec<Process> {
    let mut rest = all();
    let mut found: Vec<Process> = Vec::new();
    loop {
        let known = |pid| pid == root || found.iter().any(|process| process.pid == pid);
        let (more, others): (Vec<_>, Vec<_>) =
            rest.into_iter().partition(|process| known(process.parent));
        if more.is_empty() {
            return found;
        }
        found.extend(more);
        rest = others;
    }
}

fn all() -> Vec<Process> {
    fs::read_dir("/proc")
        .expect("/proc is mounted")
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(read)
        .collect()
}

/// Nothing for a process that ended meanwhile, and for a zombie.
fn read(pid: u32) -> Option<Process> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in parentheses and may contain some itself.
    let (name, rest) = stat.split_once('(')?.1.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let (state, parent) = (fields.next()?, fields.next()?.parse().ok()?);
    let command = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let command = String::from_utf8_lossy(&command).replace('\0', " ");
    (state != "Z").then(|| Process {
        pid,
        parent,
        name: name.to_owned(),
        command,
    })
}

/// The resident memory of a process; nothing if it is gone.
pub(super) fn resident_bytes(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1024)
}
