//! What `/proc` tells of processes: who is whose child, since when, and what each has used.

use std::collections::HashSet;
use std::fs;
use std::io;

use rustix::process::Pid;
use sandbox_protocol::process::Member;

/// How much of a command line is told, in bytes.
const COMMAND_BYTES: u64 = 4096;

/// What `/proc/<pid>/stat` tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    /// The state, as a letter.
    state: u8,
    /// The parent; 0 for none.
    pub(super) parent: i32,
    /// Its own processor time, in clock ticks.
    pub(super) own_ticks: u64,
    /// The processor time of the children that it reaped, in clock ticks.
    pub(super) reaped_ticks: u64,
    /// Threads.
    pub(super) threads: u64,
    /// When it started, in clock ticks since boot: with the number, its identity.
    pub(super) started: u64,
    /// Resident memory, in pages.
    pub(super) rss_pages: u64,
}

impl Stat {
    /// What is told of `pid`.
    pub(super) fn of(pid: Pid) -> io::Result<Self> {
        let text = fs::read(format!("/proc/{}/stat", pid.as_raw_nonzero()))?;
        Self::parse(&text).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
    }

    fn parse(text: &[u8]) -> Option<Self> {
        // The name stands in brackets and may contain anything, brackets included.
        let name_end = text.iter().rposition(|byte| *byte == b')')?;
        let fields = std::str::from_utf8(text.get(name_end + 2..)?).ok()?;
        let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
        // proc_pid_stat(5) counts from 1, and the state is its number 3.
        let number = |field: usize| -> Option<u64> { fields.get(field - 3)?.parse().ok() };
        Some(Self {
            state: *fields.first()?.as_bytes().first()?,
            parent: fields.get(1)?.parse().ok()?,
            own_ticks: number(14)? + number(15)?,
            reaped_ticks: number(16)? + number(17)?,
            threads: number(20)?,
            started: number(22)?,
            rss_pages: number(24)?,
        })
    }

    /// Whether it has ended and only waits to be reaped. A process whose first thread ended while others run
    /// looks the same but for their number.
    pub(super) fn is_dead(&self) -> bool {
        matches!(self.state, b'Z' | b'X') && self.threads <= 1
    }

    /// Whether `pid` is still the one of which this tells, and alive.
    pub(super) fn lives_as(&self, pid: Pid) -> bool {
        Self::of(pid).is_ok_and(|now| now.started == self.started && !now.is_dead())
    }
}

/// The children of `parent`, of all its threads.
pub(super) fn children(parent: Pid) -> Vec<Pid> {
    let tasks = format!("/proc/{}/task", parent.as_raw_nonzero());
    let Ok(threads) = fs::read_dir(tasks) else {
        return Vec::new();
    };
    let mut children = Vec::new();
    for thread in threads.flatten() {
        match fs::read_to_string(thread.path().join("children")) {
            Ok(list) => children.extend(list.split_ascii_whitespace().filter_map(pid)),
            Err(_) if !thread.path().exists() => {}
            // The kernel was built without the list.
            Err(_) => return children_by_parent(parent),
        }
    }
    children
}

fn pid(text: &str) -> Option<Pid> {
    text.parse().ok().and_then(Pid::from_raw)
}

fn everyone() -> impl Iterator<Item = (Pid, Stat)> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| pid(entry.file_name().to_str()?))
        .filter_map(|pid| Some((pid, Stat::of(pid).ok()?)))
}

fn children_by_parent(parent: Pid) -> Vec<Pid> {
    everyone()
        .filter(|(_, stat)| stat.parent == parent.as_raw_nonzero().get())
        .map(|(pid, _)| pid)
        .collect()
}

/// Everyone alive of `heads` and of those who descend from them, parents before children.
pub(super) fn family(heads: Vec<Pid>) -> Vec<(Pid, Stat)> {
    let mut met = HashSet::new();
    let mut members = Vec::new();
    let mut generation = heads;
    while !generation.is_empty() {
        // One that was given a new parent while we looked may be met twice.
        generation.retain(|pid| met.insert(*pid));
        members.extend(living(&generation));
        generation = generation.into_iter().flat_map(children).collect();
    }
    members
}

/// Those of `pids` who are alive.
pub(super) fn living(pids: &[Pid]) -> impl Iterator<Item = (Pid, Stat)> {
    let stats = pids
        .iter()
        .filter_map(|pid| Some((*pid, Stat::of(*pid).ok()?)));
    stats.filter(|(_, stat)| !stat.is_dead())
}

/// The process as a receipt names it; without a command if it is gone.
pub(super) fn member(pid: Pid) -> Member {
    Member {
        pid: number(pid),
        command: command_line(pid).unwrap_or_default(),
    }
}

/// The number on the wire.
pub(super) fn number(pid: Pid) -> u32 {
    pid.as_raw_nonzero().get().unsigned_abs()
}

fn command_line(pid: Pid) -> io::Result<String> {
    use std::io::Read as _;
    let folder = format!("/proc/{}", pid.as_raw_nonzero());
    let mut words = Vec::new();
    fs::File::open(format!("{folder}/cmdline"))?
        .take(COMMAND_BYTES)
        .read_to_end(&mut words)?;
    while words.last() == Some(&0) {
        words.pop();
    }
    if words.is_empty() {
        let name = fs::read_to_string(format!("{folder}/comm"))?;
        return Ok(format!("[{}]", name.trim_end()));
    }
    for byte in &mut words {
        if *byte == 0 {
            *byte = b' ';
        }
    }
    Ok(String::from_utf8_lossy(&words).into_owned())
}

#[cfg(test)]
mod tests {
    use super::{Stat, member};

    #[test]
    fn a_name_with_brackets_and_spaces_does_not_shift_the_fields() {
        let stat = b"12 (a) b (c)) S 7 12 12 0 -1 0 0 0 0 0 1 2 3 4 20 0 5 0 999 1000 42 0";
        let stat = Stat::parse(stat).unwrap();
        assert_eq!((stat.parent, stat.own_ticks, stat.reaped_ticks), (7, 3, 7));
        assert_eq!((stat.threads, stat.started, stat.rss_pages), (5, 999, 42));
        assert!(!stat.is_dead());
    }

    #[test]
    fn one_whose_first_thread_ended_lives_on() {
        let of = |threads| {
            let text = format!("1 (x) Z 0 1 1 0 -1 0 0 0 0 0 1 2 3 4 20 0 {threads} 0 9 1000 42 0");
            Stat::parse(text.as_bytes()).unwrap()
        };
        assert!(of(1).is_dead());
        assert!(!of(2).is_dead());
    }

    #[test]
    fn we_know_ourselves() {
        let me = rustix::process::getpid();
        assert!(Stat::of(me).unwrap().threads >= 1);
        assert!(!member(me).command.is_empty());
    }
}
