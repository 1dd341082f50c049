//! The last steps of a child before it becomes the program that it is to be.

use std::ffi::{CStr, CString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::ptr;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::Pid;

use super::launch::Prepared;
use super::report::{Failure, Stage};

/// Where programs are looked for in an environment without `PATH`.
const DEFAULT_PATH: &[u8] = b"/usr/local/bin:/usr/bin:/bin";

/// How ready a child is to be killed when memory runs out; the supervisor keeps its 0.
const OOM_SCORE: &[u8] = b"500";

/// How large the stack of a child is until it executes, in bytes.
const STACK_BYTES: usize = 64 << 10;

/// What a child has to do, in the memory that it shares with the shim until it executes.
pub(super) struct Errand<'a> {
    prepared: &'a Prepared<'a>,
    descriptors: &'a [OwnedFd; 3],
    failure: Option<Failure>,
}

impl<'a> Errand<'a> {
    /// To execute `prepared` on these three descriptors.
    pub(super) fn new(prepared: &'a Prepared<'a>, descriptors: &'a [OwnedFd; 3]) -> Self {
        Self {
            prepared,
            descriptors,
            failure: None,
        }
    }

    /// Forks the child and waits until it executes, or has exited and left its failure.
    ///
    /// The child borrows our memory instead of getting a copy, as vfork has it, for a copy would cost more
    /// than all else that is done here. It has descriptors, signals and ids of its own.
    #[expect(unsafe_code, reason = "clone")]
    pub(super) fn run(mut self) -> Result<(Pid, Option<Failure>), Errno> {
        let mut stack = vec![MaybeUninit::<u128>::uninit(); STACK_BYTES / size_of::<u128>()];
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
        // SAFETY: there is one thread, and it stands still until the child has executed or exited, so nobody
        // else touches the memory that the child uses: its own stack, which grows down from the end of `stack`
        // and is as aligned as a u128, and the errand. Both live until then. What the child allocates and does
        // not free stays allocated here.
        let pid = unsafe {
            let top = stack.as_mut_ptr_range().end.cast();
            libc::clone(enter, top, flags, (&raw mut self).cast())
        };
        let pid = Pid::from_raw(pid).filter(|_| pid > 0);
        Ok((pid.ok_or_else(last_error)?, self.failure))
    }
}

/// The child. It comes back only if it does not execute.
extern "C" fn enter(errand: *mut libc::c_void) -> libc::c_int {
    #[expect(
        unsafe_code,
        reason = "the only argument that clone passes on is a pointer"
    )]
    // SAFETY: `Errand::run` passes itself, stands still, and looks at itself again only afterwards.
    let errand = unsafe { &mut *errand.cast::<Errand<'_>>() };
    let Err(failure) = attempt(errand.prepared, errand.descriptors);
    errand.failure = Some(failure);
    127
}

fn last_error() -> Errno {
    Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO)
}

enum Never {}

fn attempt(prepared: &Prepared<'_>, descriptors: &[OwnedFd; 3]) -> Result<Never, Failure> {
    let at = |stage| move |error| Failure::new(stage, error);
    rustix::process::setsid().map_err(at(Stage::Session))?;
    default_signals();
    let [stdin, stdout, stderr] = descriptors;
    rustix::stdio::dup2_stdin(stdin).map_err(at(Stage::Stdio))?;
    rustix::stdio::dup2_stdout(stdout).map_err(at(Stage::Stdio))?;
    rustix::stdio::dup2_stderr(stderr).map_err(at(Stage::Stdio))?;
    match rustix::process::ioctl_tiocsctty(stdin) {
        // A pipe and `/dev/null` are no terminals, which is how most processes are started.
        Ok(()) | Err(Errno::NOTTY) => {}
        Err(error) => return Err(Failure::new(Stage::Session, error)),
    }
    volunteer_for_the_oom_killer();
    if let Some((uid, gid, groups)) = &prepared.identity {
        rustix::thread::set_thread_groups(groups).map_err(at(Stage::Identity))?;
        rustix::thread::set_thread_res_gid(*gid, *gid, *gid).map_err(at(Stage::Identity))?;
        rustix::thread::set_thread_res_uid(*uid, *uid, *uid).map_err(at(Stage::Identity))?;
    }
    // As the user, who may be barred from a folder that root may enter.
    rustix::process::chdir(prepared.cwd).map_err(at(Stage::Cwd))?;
    search(prepared).map_err(at(Stage::Exec))
}

/// Unblocks every signal, and gives `SIGPIPE`, the one that the zygote ignores, its default.
#[expect(unsafe_code, reason = "rustix leaves signal masks to libc")]
fn default_signals() {
    let mut none = MaybeUninit::uninit();
    // SAFETY: `sigemptyset` initializes the set before `sigprocmask` reads it; null asks for no old value; no
    // handler is installed, only the default.
    unsafe {
        libc::sigemptyset(none.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), ptr::null_mut());
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
    }
}

/// Refused where `/proc` is missing or we are not root; then all are equal before the OOM killer.
fn volunteer_for_the_oom_killer() {
    let file = rustix::fs::open(
        "/proc/self/oom_score_adj",
        OFlags::WRONLY | OFlags::CLOEXEC,
        Mode::empty(),
    );
    let _ = file.and_then(|file| rustix::io::write(file, OOM_SCORE));
}

/// Executes the first word where it is a path, else the first that is found of that name, as a shell does it.
fn search(prepared: &Prepared<'_>) -> Result<Never, Errno> {
    let name = prepared.argv[0].to_bytes();
    if name.contains(&b'/') {
        return execve(prepared.argv[0], prepared);
    }
    let path = prepared
        .env
        .iter()
        .find_map(|variable| variable.to_bytes().strip_prefix(b"PATH="))
        .unwrap_or(DEFAULT_PATH);
    let mut result = Errno::NOENT;
    for folder in path.split(|byte| *byte == b':') {
        let folder = if folder.is_empty() { b"." } else { folder };
        let file = CString::new([folder, b"/", name].concat()).map_err(|_| Errno::INVAL)?;
        match execve(&file, prepared) {
            Err(Errno::NOENT | Errno::NOTDIR) => {}
            Err(Errno::ACCESS) => result = Errno::ACCESS,
            other => return other,
        }
    }
    Err(result)
}

#[expect(unsafe_code, reason = "rustix keeps execve unstable")]
fn execve(file: &CStr, prepared: &Prepared<'_>) -> Result<Never, Errno> {
    let pointers = |words: &[&CStr]| -> Vec<*const libc::c_char> {
        let words = words.iter().map(|word| word.as_ptr());
        words.chain([ptr::null()]).collect()
    };
    let (argv, env) = (pointers(&prepared.argv), pointers(&prepared.env));
    // SAFETY: the file and all words end in NUL, both arrays end in null, and all of them outlive the call.
    unsafe { libc::execve(file.as_ptr(), argv.as_ptr(), env.as_ptr()) };
    Err(last_error())
}
