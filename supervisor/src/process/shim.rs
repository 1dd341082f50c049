//! The shim: the parent of a process, and the keeper of everything that descends from it.
//!
//! It is a child subreaper, so whatever the process spawns stays below it, however it forks, detaches or
//! changes its session. It tells of the root's exit at once, reaps all others, and tells when it has no child
//! left, which proves that the tree is gone. Then it may be given another process, for nothing of the last one
//! is left; when the supervisor lets go of its socket, it ends. It runs as whoever runs the supervisor, out of
//! the tree's reach where that is root. When the supervisor dies it kills its tree.

use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions};

use super::child::Errand;
use super::clone::Stack;
use super::launch::Prepared;
use super::report::{Failure, Report, Stage};
use super::{fds, procfs, signals};

/// What a shim is asked to start.
struct Request {
    /// The encoded [`super::launch::Launch`], a file.
    launch: OwnedFd,
    /// Standard input, output and error.
    descriptors: [OwnedFd; 3],
    /// The control group of the tree, if it has one.
    group: Option<OwnedFd>,
}

/// Starts what is asked for on `socket`, one after another, each when the tree of the one before is gone.
pub(super) fn run(socket: &OwnedFd, supervisor: Pid) -> ! {
    if let Err(error) = prepare(supervisor) {
        Report::send(socket, [Report::Failed(Failure::new(Stage::Fork, error))]);
        exit(0)
    }
    let shim = Report::Shim(rustix::process::getpid());
    let mut stack = Stack::new();
    while let Ok(Some(request)) = receive(socket) {
        let reaped_ms = reaped_ms();
        match spawn(request, &mut stack) {
            // One write: the supervisor is woken once for a start, when there is something to do.
            Ok(root) => {
                Report::send(socket, [shim, Report::Started(root)]);
                keep(root, socket, reaped_ms, supervisor);
            }
            Err(failure) => Report::send(socket, [shim, Report::Failed(failure)]),
        }
    }
    exit(0)
}

/// Becomes the subreaper of what follows. The signals that are waited for are blocked before anything can
/// send them.
fn prepare(supervisor: Pid) -> Result<(), Errno> {
    signals::block();
    rustix::process::set_parent_process_death_signal(Some(Signal::TERM))?;
    if rustix::process::getppid() != Some(supervisor) {
        exit(1);
    }
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    rustix::thread::set_name(c"shim")
}

/// The next request; `None` when the supervisor wants nothing more.
fn receive(socket: &OwnedFd) -> Result<Option<Request>, Errno> {
    let Some(descriptors) = fds::receive(socket)? else {
        return Ok(None);
    };
    let mut descriptors = descriptors.into_iter();
    let mut next = || descriptors.next().ok_or(Errno::BADMSG);
    Ok(Some(Request {
        launch: next()?,
        descriptors: [next()?, next()?, next()?],
        group: descriptors.next(),
    }))
}

/// Forks the root and waits until it executes. The descriptors are closed then: with them gone, readers of its
/// output see the end when it ends.
fn spawn(request: Request, stack: &mut Stack) -> Result<Pid, Failure> {
    let Request {
        launch,
        descriptors,
        group,
    } = request;
    let bytes = read_all(&launch).map_err(|error| Failure::new(Stage::Request, error))?;
    let prepared = Prepared::decode(&bytes).ok_or(Failure::new(Stage::Request, Errno::BADMSG))?;
    let mut errand = Errand::new(&prepared, &descriptors);
    let (root, failure) = errand.run(group.as_ref(), stack)?;
    let Some(failure) = failure else {
        return Ok(root);
    };
    // It has exited; there is nothing to learn from how.
    let _ = rustix::process::waitpid(Some(root), WaitOptions::empty());
    Err(failure)
}

fn read_all(file: &OwnedFd) -> Result<Vec<u8>, Errno> {
    let length = usize::try_from(rustix::fs::fstat(file)?.st_size).map_err(|_| Errno::FBIG)?;
    let mut bytes = vec![0; length];
    let mut done = 0;
    while done < length {
        match rustix::io::pread(file, &mut bytes[done..], done as u64)? {
            0 => return Err(Errno::BADMSG),
            count => done += count,
        }
    }
    Ok(bytes)
}

/// Reaps until nobody is left, and says so. Those reaped before had used `reaped_before_ms`.
fn keep(root: Pid, socket: &OwnedFd, reaped_before_ms: u64, supervisor: Pid) {
    loop {
        let mut root_exited = None;
        let empty = loop {
            match rustix::process::wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if pid == root => {
                    root_exited = Some(Report::RootExited(status.as_raw()));
                }
                Ok(Some(_)) | Err(Errno::INTR) => {}
                Ok(None) => break None,
                Err(_) => {
                    let cpu_ms = reaped_ms() - reaped_before_ms;
                    break Some(Report::Empty { cpu_ms });
                }
            }
        };
        // One write, so that the usual end, root and tree at once, wakes the supervisor once.
        match (root_exited, empty) {
            (Some(root_exited), Some(empty)) => Report::send(socket, [root_exited, empty]),
            (Some(only), None) | (None, Some(only)) => Report::send(socket, [only]),
            (None, None) => {}
        }
        if empty.is_some() {
            return;
        }
        signals::wait();
        if rustix::process::getppid() != Some(supervisor) {
            kill_children();
        }
    }
}

/// Kills every child. Their children become ours, and the signal of their deaths brings us back here.
fn kill_children() {
    for child in procfs::children(rustix::process::getpid()) {
        // A child is ours to reap, so its number cannot have become another's.
        let _ = rustix::process::kill_process(child, Signal::KILL);
    }
}

/// Time on a processor of everyone reaped here and of those whom they reaped, in milliseconds.
#[expect(unsafe_code, reason = "rustix has no getrusage")]
fn reaped_ms() -> u64 {
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: `usage` is writable and of the type that is asked for; all zeros is a valid value of it, so it
    // is initialized whether the call succeeds or not.
    let usage = unsafe {
        libc::getrusage(libc::RUSAGE_CHILDREN, usage.as_mut_ptr());
        usage.assume_init()
    };
    let ms = |time: libc::timeval| {
        time.tv_sec.unsigned_abs() * 1000 + time.tv_usec.unsigned_abs() / 1000
    };
    ms(usage.ru_utime) + ms(usage.ru_stime)
}

/// Ends this process without running what the supervisor registered to run at its exit.
#[expect(unsafe_code, reason = "_exit")]
pub(super) fn exit(code: i32) -> ! {
    // SAFETY: has no precondition.
    unsafe { libc::_exit(code) }
}
