//! The last steps of a child before it becomes the program that it is to be.

use std::ffi::{CStr, CString};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::ptr;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::Pid;

use super::clone;
use super::launch::Prepared;
use super::report::{Failure, Stage};

/// Where programs are looked for in an environment without `PATH`.
const DEFAULT_PATH: &[u8] = b"/usr/local/bin:/usr/bin:/bin";

/// How ready a child is to be killed when memory runs out; the supervisor keeps its 0.
const OOM_SCORE: &[u8] = b"500";

/// What a child has to do, in the memory that it shares with the shim until it executes.
pub(super) struct Errand<'a> {
    prepared: &'a Prepared<'a>,
    descriptors: &'a [OwnedFd; 3],
    /// The control group that it is still to enter.
    group: Option<&'a OwnedFd>,
    failure: Option<Failure>,
}

impl<'a> Errand<'a> {
    /// To execute `prepared` on these three descriptors.
    pub(super) fn new(prepared: &'a Prepared<'a>, descriptors: &'a [OwnedFd; 3]) -> Self {
        Self {
            prepared,
            descriptors,
            group: None,
            failure: None,
        }
    }

    /// Forks the child, into the control group `group` if there is one, and waits until it executes, or has
    /// exited and left its failure.
    pub(super) fn run(
        mut self,
        group: Option<&'a OwnedFd>,
    ) -> Result<(Pid, Option<Failure>), Failure> {
        let pid = match group.map(|group| self.born_in(group)) {
            Some(Err(Errno::NOSYS)) => {
                self.group = group;
                self.born()
            }
            Some(Err(error)) => return Err(Failure::new(Stage::Group, error)),
            Some(Ok(pid)) => Ok(pid),
            None => self.born(),
        };
        let pid = pid.map_err(|error| Failure::new(Stage::Fork, error))?;
        Ok((pid, self.failure))
    }

    #[expect(unsafe_code, reason = "clone")]
    fn born(&mut self) -> Result<Pid, Errno> {
        // SAFETY: a shim has one thread, and `enter` takes an errand.
        unsafe { clone::child(enter, (&raw mut *self).cast()) }
    }

    #[expect(unsafe_code, reason = "clone")]
    fn born_in(&mut self, group: &OwnedFd) -> Result<Pid, Errno> {
        // SAFETY: as in `born`.
        unsafe { clone::child_in(group.as_fd(), enter, (&raw mut *self).cast()) }
    }
}

/// The child. It comes back only if it does not execute.
extern "C" fn enter(errand: *mut libc::c_void) -> libc::c_int {
    #[expect(
        unsafe_code,
        reason = "the only argument that clone passes on is a pointer"
    )]
    // SAFETY: an errand passes itself, stands still, and looks at itself again only afterwards.
    let errand = unsafe { &mut *errand.cast::<Errand<'_>>() };
    let Err(failure) = attempt(errand);
    errand.failure = Some(failure);
    127
}

enum Never {}

fn attempt(errand: &Errand<'_>) -> Result<Never, Failure> {
    let Errand {
        prepared,
        descriptors,
        ..
    } = *errand;
    let at = |stage| move |error| Failure::new(stage, error);
    if let Some(group) = errand.group {
        enter_group(group).map_err(at(Stage::Group))?;
    }
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

/// Moves this process.
fn enter_group(group: &OwnedFd) -> Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let members = rustix::fs::openat(group, "cgroup.procs", flags, Mode::empty())?;
    rustix::io::write(members, b"0")?;
    Ok(())
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
    Err(clone::last_error())
}
