//! Who listens on a port of this machine's loopback.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rustix::process::Pid;

use crate::process::look::as_owner_of;

/// The state of a listening socket in `/proc/net/tcp`.
const LISTEN: &str = "0A";

/// Whose the listener is that a connection to some address reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// There is no listener.
    Nobody,
    /// One of the processes that were asked about.
    Ours,
    /// None of them.
    Foreign,
    /// The kernel does not tell.
    Unknown,
}

/// Whose listener on `port` a connection to `target`, a loopback address, reaches, and whether that is one of
/// `pids`. Blocks for the reading of `/proc`.
pub(super) fn owner(target: IpAddr, port: u16, pids: &[u32]) -> Owner {
    let Ok(inodes) = reached(target, port) else {
        return Owner::Unknown;
    };
    if inodes.is_empty() {
        return Owner::Nobody;
    }
    let names: Vec<String> = inodes
        .iter()
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    let mut unknown = false;
    for pid in pids {
        match holds(*pid, &names) {
            Ok(true) => return Owner::Ours,
            Ok(false) => {}
            // It ended while we looked.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(_) => unknown = true,
        }
    }
    if unknown {
        Owner::Unknown
    } else {
        Owner::Foreign
    }
}

/// The inodes of the sockets that listen on `port` where a connection to `target` arrives.
fn reached(target: IpAddr, port: u16) -> io::Result<Vec<u64>> {
    let mut listeners = listeners(&fs::read_to_string("/proc/net/tcp")?, port);
    match fs::read_to_string("/proc/net/tcp6") {
        Ok(table) => listeners.extend(self::listeners(&table, port)),
        // The kernel has no IPv6.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    listeners.retain(|(address, _)| takes(*address, target));
    Ok(listeners.into_iter().map(|(_, inode)| inode).collect())
}

/// Whether a socket bound to `bound` takes a connection to `target`.
fn takes(bound: IpAddr, target: IpAddr) -> bool {
    let bound = match bound {
        IpAddr::V6(address) => address.to_ipv4_mapped().map_or(bound, IpAddr::V4),
        IpAddr::V4(_) => bound,
    };
    bound == target
        || bound == IpAddr::V6(Ipv6Addr::UNSPECIFIED)
        || (target.is_ipv4() && bound == IpAddr::V4(Ipv4Addr::UNSPECIFIED))
}

/// The sockets of a table of the kernel's that listen on `port`: their addresses and inodes.
fn listeners(table: &str, port: u16) -> Vec<(IpAddr, u64)> {
    let line = |line: &str| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let (address, bound) = fields.next()?.split_once(':')?;
        let is_wanted = u16::from_str_radix(bound, 16).ok()? == port;
        let listens = fields.nth(1)? == LISTEN;
        let inode = fields.nth(5)?.parse().ok()?;
        (is_wanted && listens).then_some((parse_address(address)?, inode))
    };
    table.lines().skip(1).filter_map(line).collect()
}

/// The kernel writes addresses as words of this machine, whose bytes are in the network's order.
fn parse_address(hex: &str) -> Option<IpAddr> {
    let word = |index: usize| {
        let digits = hex.get(index * 8..index * 8 + 8)?;
        Some(u32::from_str_radix(digits, 16).ok()?.to_ne_bytes())
    };
    match hex.len() {
        8 => Some(IpAddr::from(word(0)?)),
        32 => {
            let mut bytes = [0; 16];
            for (index, chunk) in bytes.chunks_exact_mut(4).enumerate() {
                chunk.copy_from_slice(&word(index)?);
            }
            Some(IpAddr::from(bytes))
        }
        _ => None,
    }
}

/// Whether process `pid` has one of the sockets `names`.
fn holds(pid: u32, names: &[String]) -> io::Result<bool> {
    let look = || {
        for descriptor in fs::read_dir(format!("/proc/{pid}/fd"))? {
            match fs::read_link(descriptor?.path()) {
                Ok(target) if names.iter().any(|name| target.as_os_str() == name.as_str()) => {
                    return Ok(true);
                }
                Ok(_) => {}
                // It was closed while we looked.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    };
    match look() {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
            pid.map_or(Err(error), |pid| as_owner_of(pid, look))
        }
        looked => looked,
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener};

    use super::{Owner, listeners, owner, takes};

    const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

    #[test]
    fn a_listener_of_ours_is_told_from_one_of_another() {
        let listener = TcpListener::bind((V4, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(owner(V4, port, &[std::process::id()]), Owner::Ours);
        assert_eq!(owner(V4, port, &[]), Owner::Foreign);
        assert_eq!(owner(V6, port, &[]), Owner::Nobody);
        drop(listener);
        assert_eq!(owner(V4, port, &[std::process::id()]), Owner::Nobody);
    }

    #[test]
    fn a_socket_for_every_address_takes_both_families_only_if_it_is_of_the_newer() {
        let any_v4 = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let any_v6 = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        let mapped = IpAddr::V6(Ipv4Addr::LOCALHOST.to_ipv6_mapped());
        assert!(takes(any_v4, V4) && !takes(any_v4, V6));
        assert!(takes(any_v6, V4) && takes(any_v6, V6));
        assert!(takes(mapped, V4) && !takes(mapped, V6));
        assert!(!takes(IpAddr::from([10, 0, 0, 1]), V4));
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn the_tables_of_the_kernel_are_read() {
        let v4 = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            \x20  0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4242 1 0 100 0 0 10 0\n\
            \x20  1: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000  1000        0 4243 1 0 20 4 30 10 -1\n";
        assert_eq!(listeners(v4, 8080), [(V4, 4242)]);
        assert!(listeners(v4, 8081).is_empty());
        let v6 = "  sl  local_address                         remote_address                        st\n\
            \x20  0: 00000000000000000000000001000000:1F90 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 77 1 0 100 0 0 10 0\n";
        assert_eq!(listeners(v6, 8080), [(V6, 77)]);
    }
}
