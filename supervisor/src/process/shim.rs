//! The shim: one for each process, its parent, and the keeper of everything that descends from it.
//!
//! It is a child subreaper, so whatever the process spawns stays below it, however it forks, detaches or
//! changes its session. It tells of the root's exit at once, reaps all others, and ends when it has no child
//! left, which proves that the tree is gone. It runs as whoever runs the supervisor, out of the tree's reach
//! where that is root. When the supervisor dies it kills its tree.

use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions};

use super::child;
use super::launch::Prepared;
use super::procfs;
use super::report::{Failure, Report, Stage};
use super::zygote::{Request, exit};

/// Runs what `request` asks for and stays until its tree is gone.
pub(super) fn run(request: Request, supervisor: Pid) -> ! {
    let Request {
        launch,
        descriptors,
        report,
        group,
    } = request;
    let signals = match prepare(supervisor) {
        Ok(signals) => signals,
        Err(error) => refuse(&report, Failure::new(Stage::Fork, error)),
    };
    let shim = Report::Shim(rustix::process::getpid());
    let root = match spawn(&launch, &descriptors, group.as_ref()) {
        Ok(root) => root,
        Err(failure) => {
            Report::send(&report, &[shim, Report::Failed(failure)]);
            exit(0)
        }
    };
    // With them gone, readers of its output see the end when it ends.
    drop((launch, descriptors, group));
    // One write: the supervisor is woken once for a start, when there is something to do.
    Report::send(&report, &[shim, Report::Started(root)]);
    keep(root, &report, &signals, supervisor)
}

fn refuse(report: &OwnedFd, failure: Failure) -> ! {
    Report::send(report, &[Report::Failed(failure)]);
    exit(0)
}

/// Becomes the subreaper of what follows. The signals that are waited for are blocked before anything can
/// send them; they are returned.
fn prepare(supervisor: Pid) -> Result<Signals, Errno> {
    let signals = Signals::block();
    rustix::process::set_parent_process_death_signal(Some(Signal::TERM))?;
    if rustix::process::getppid() != Some(supervisor) {
        exit(1);
    }
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    rustix::thread::set_name(c"shim")?;
    Ok(signals)
}

/// Forks the root and waits until it executes.
fn spawn(
    launch: &OwnedFd,
    descriptors: &[OwnedFd; 3],
    group: Option<&OwnedFd>,
) -> Result<Pid, Failure> {
    let bytes = read_all(launch).map_err(|error| Failure::new(Stage::Request, error))?;
    let prepared = Prepared::decode(&bytes).ok_or(Failure::new(Stage::Request, Errno::BADMSG))?;
    let errand = child::Errand::new(&prepared, descriptors);
    let (root, failure) = errand.run(group)?;
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

/// Reaps until nobody is left, and says so.
fn keep(root: Pid, report: &OwnedFd, signals: &Signals, supervisor: Pid) -> ! {
    loop {
        let mut news = Vec::new();
        let empty = loop {
            match rustix::process::wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if pid == root => {
                    news.push(Report::RootExited(status.as_raw()));
                }
                Ok(Some(_)) | Err(Errno::INTR) => {}
                Ok(None) => break false,
                Err(_) => break true,
            }
        };
        if empty {
            news.push(Report::Empty { cpu_ms: cpu_ms() });
        }
        // One write, so that the usual end, root and tree at once, wakes the supervisor once.
        if !news.is_empty() {
            Report::send(report, &news);
        }
        if empty {
            exit(0);
        }
        signals.wait();
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
fn cpu_ms() -> u64 {
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

/// `SIGCHLD` and `SIGTERM` (the supervisor died), blocked and waited for, so that none is missed between a
/// look and the wait.
struct Signals(libc::sigset_t);

impl Signals {
    #[expect(unsafe_code, reason = "rustix leaves signal masks to libc")]
    fn block() -> Self {
        let mut set = MaybeUninit::uninit();
        // SAFETY: `sigemptyset` initializes the set before anything reads it; the signal numbers exist.
        let set = unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            libc::sigaddset(set.as_mut_ptr(), libc::SIGCHLD);
            libc::sigaddset(set.as_mut_ptr(), libc::SIGTERM);
            set.assume_init()
        };
        // SAFETY: both sets are valid, or null where nothing is to be stored.
        unsafe { libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) };
        Self(set)
    }

    /// Waits for one of them, or any interruption.
    #[expect(unsafe_code, reason = "rustix leaves signal masks to libc")]
    fn wait(&self) {
        // SAFETY: the set is initialized; null asks for no details.
        unsafe { libc::sigwaitinfo(&raw const self.0, std::ptr::null_mut()) };
    }
}
