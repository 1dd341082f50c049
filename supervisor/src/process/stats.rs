//! What a tree has used, from `/proc` and, where it has a control group, from that.

use std::fs;
use std::io;

use rustix::process::Pid;
use sandbox_protocol::process::Stats;

use super::cgroup::Group;
use super::look;
use super::procfs::Stat;
use super::tree::Tree;

/// The use of `tree`, the dead included where the kernel adds them up. Blocks for the reading of `/proc`.
pub(super) fn of(tree: &Tree) -> Stats {
    let progress = tree.progress();
    if progress.empty {
        return Stats {
            cpu_ms: progress.cpu_ms,
            ..none()
        };
    }
    let members = tree.members();
    let sum = |part: fn(&Stat) -> u64| members.iter().map(|(_, stat)| part(stat)).sum::<u64>();
    // The shim has reaped whoever ended without a parent in the tree; it has next to no time of its own.
    let reaped = tree.of_shim(|shim| Stat::of(shim).map_or(0, |stat| stat.reaped_ticks));
    let ticks = sum(|stat| stat.own_ticks + stat.reaped_ticks) + reaped.unwrap_or(0);
    let counted = tree.group().and_then(Group::cpu_ms);
    let mut io = members.iter().map(|(pid, _)| io_bytes(*pid));
    let io = io.try_fold((0, 0), |(read, written), bytes| {
        let (more_read, more_written) = bytes?;
        Some((read + more_read, written + more_written))
    });
    Stats {
        cpu_ms: counted.or(Some(ticks * 1000 / rustix::param::clock_ticks_per_second())),
        rss_bytes: Some(sum(|stat| stat.rss_pages) * rustix::param::page_size() as u64),
        read_bytes: io.map(|(read, _)| read),
        write_bytes: io.map(|(_, written)| written),
        threads: Some(sum(|stat| stat.threads)),
        processes: Some(members.len() as u64),
    }
}

/// The use of a tree that never was, or is gone.
pub(super) fn none() -> Stats {
    Stats {
        cpu_ms: None,
        rss_bytes: Some(0),
        read_bytes: None,
        write_bytes: None,
        threads: Some(0),
        processes: Some(0),
    }
}

/// Bytes read from and written to storage; `None` where the kernel refuses, zeros for one that has ended.
fn io_bytes(pid: Pid) -> Option<(u64, u64)> {
    let path = format!("/proc/{}/io", pid.as_raw_nonzero());
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            look::as_owner_of(pid, || fs::read_to_string(&path))
        }
        other => other,
    };
    match text {
        Ok(text) => Some((
            field(&text, "read_bytes: ")?,
            field(&text, "write_bytes: ")?,
        )),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => None,
        Err(_) => Some((0, 0)),
    }
}

fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.parse().ok()
}
