//! The zygote: a small single-threaded copy of the supervisor that forks the shims.
//!
//! It is forked before there is a second thread, so that what it forks in turn may do anything: no lock is
//! held by a thread that does not exist, and its memory is too small to be dear to copy. It makes each shim
//! the child of the supervisor, not its own (`CLONE_PARENT`), keeps no state and waits for nothing but the
//! next request: the socket of a shim that is to be. It dies with the supervisor.

use std::io;
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, Signal};

use super::report::{Failure, Report, Stage};
use super::shim::{self, exit};
use super::{fds, signals};

/// The supervisor's end of the zygote.
#[derive(Debug)]
pub struct Zygote {
    /// Where requests are sent.
    pub(super) socket: OwnedFd,
    /// Its process.
    pid: Pid,
}

impl Zygote {
    /// Its number.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.pid
    }
}

/// Forks the zygote. To be called while there is one thread.
#[expect(unsafe_code, reason = "fork")]
pub fn fork() -> io::Result<Zygote> {
    let (ours, its) = fds::pair()?;
    fill_standard_descriptors()?;
    let supervisor = rustix::process::getpid();
    // SAFETY: there is one thread, so the copy has every lock free and may go on like any program.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            drop(ours);
            serve(its, supervisor)
        }
        pid => Ok(Zygote {
            socket: ours,
            pid: Pid::from_raw(pid).ok_or(Errno::SRCH)?,
        }),
    }
}

/// Opens `/dev/null` where 0, 1 or 2 is closed, lest a pipe of a process get one of these numbers.
fn fill_standard_descriptors() -> io::Result<()> {
    loop {
        let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
        if null.as_raw_fd() > 2 {
            return Ok(());
        }
        let _open_for_good = null.into_raw_fd();
    }
}

fn serve(socket: OwnedFd, supervisor: Pid) -> ! {
    let _ = rustix::thread::set_name(c"zygote");
    let bound = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    // The supervisor may have died before the line above took effect.
    if bound.is_err() || rustix::process::getppid() != Some(supervisor) {
        exit(1);
    }
    signals::default_dispositions();
    close_others(&socket);
    loop {
        let shim = match fds::receive(&socket) {
            Ok(Some(mut descriptors)) => descriptors.pop().unwrap_or_else(|| exit(1)),
            Ok(None) => exit(0),
            Err(_) => exit(1),
        };
        match fork_sibling() {
            Ok(true) => {
                drop(socket);
                shim::run(&shim, supervisor)
            }
            Ok(false) => {}
            Err(error) => {
                let failure = Failure::new(Stage::Fork, error);
                Report::send(&shim, [Report::Failed(failure)]);
            }
        }
    }
}

/// Forks a process whose parent is ours; `true` in the new one.
#[expect(unsafe_code, reason = "libc has no fork with CLONE_PARENT")]
fn fork_sibling() -> Result<bool, Errno> {
    let flags = libc::CLONE_PARENT | libc::SIGCHLD;
    // SAFETY: without CLONE_VM and without a stack this is fork(2), on every architecture in which the unused
    // arguments are 0. There is one thread, so the copy may go on like any program.
    match unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) } {
        -1 => Err(Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::AGAIN)),
        0 => Ok(true),
        _ => Ok(false),
    }
}

/// Closes what the supervisor came with besides its standard descriptors: it is for nobody below us.
#[expect(unsafe_code, reason = "rustix has no close_range")]
fn close_others(socket: &OwnedFd) {
    let socket = socket.as_raw_fd().unsigned_abs();
    for (first, last) in [(3, socket - 1), (socket + 1, u32::MAX)] {
        if first > last {
            continue;
        }
        // SAFETY: nothing here owns a descriptor but the socket, which is left out, and the standard ones.
        let closed = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
        if closed != 0 {
            let error = io::Error::last_os_error();
            eprintln!("supervisor: descriptors {first} to {last} stay open for what runs: {error}");
        }
    }
}
