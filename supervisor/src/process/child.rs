//! The last steps of a child before it becomes the program that it is to be.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, OwnedFd};
use std::ptr;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::Pid;

use super::clone::{self, Stack};
use super::launch::{Ids, Prepared};
use super::report::{Failure, Stage};
use super::signals;

/// Where programs are looked for in an environment without `PATH`.
const DEFAULT_PATH: &[u8] = b"/usr/local/bin:/usr/bin:/bin";

/// How ready a child is to be killed when memory runs out: before the supervisor, the zygote and the shims, which
/// keep their 0, so that what keeps order is the last to go.
const OOM_SCORE: &[u8] = b"500";

/// What a child has to do, in the memory that it shares with the shim until it executes.
///
/// All that the child needs is made beforehand: what it allocated would stay with the shim.
pub(super) struct Errand<'a> {
    program: Program<'a>,
    /// The words and the variables, as the kernel takes them: ended by null.
    argv: Vec<*const libc::c_char>,
    env: Vec<*const libc::c_char>,
    cwd: &'a CStr,
    identity: Option<&'a Ids>,
    descriptors: &'a [OwnedFd; 3],
    /// The control group that it is still to enter.
    group: Option<&'a OwnedFd>,
    failure: Option<Failure>,
}

/// Where the program is.
enum Program<'a> {
    /// Here.
    At(&'a CStr),
    /// In the first of these places where there is one, as a shell looks for it.
    Among(Vec<CString>),
}

impl<'a> Errand<'a> {
    /// To execute `prepared` on these three descriptors.
    pub(super) fn new(prepared: &'a Prepared<'a>, descriptors: &'a [OwnedFd; 3]) -> Self {
        let pointers = |words: &[&CStr]| -> Vec<*const libc::c_char> {
            let words = words.iter().map(|word| word.as_ptr());
            words.chain([ptr::null()]).collect()
        };
        Self {
            program: Program::of(prepared),
            argv: pointers(&prepared.argv),
            env: pointers(&prepared.env),
            cwd: prepared.cwd,
            identity: prepared.identity.as_ref(),
            descriptors,
            group: None,
            failure: None,
        }
    }

    /// Forks the child, into the control group `group` if there is one, and waits until it executes, or has
    /// exited and left its failure.
    pub(super) fn run(
        &mut self,
        group: Option<&'a OwnedFd>,
        stack: &mut Stack,
    ) -> Result<(Pid, Option<Failure>), Failure> {
        let pid = match group.map(|group| self.born_in(group, stack)) {
            Some(Err(Errno::NOSYS)) => {
                self.group = group;
                self.born(stack)
            }
            Some(Err(error)) => return Err(Failure::new(Stage::Group, error)),
            Some(Ok(pid)) => Ok(pid),
            None => self.born(stack),
        };
        let pid = pid.map_err(|error| Failure::new(Stage::Fork, error))?;
        Ok((pid, self.failure))
    }

    #[expect(unsafe_code, reason = "clone")]
    fn born(&mut self, stack: &mut Stack) -> Result<Pid, Errno> {
        // SAFETY: a shim has one thread, and `enter` takes an errand.
        unsafe { clone::child(stack, enter, (&raw mut *self).cast()) }
    }

    #[expect(unsafe_code, reason = "clone")]
    fn born_in(&mut self, group: &OwnedFd, stack: &mut Stack) -> Result<Pid, Errno> {
        // SAFETY: as in `born`.
        unsafe { clone::child_in(group.as_fd(), stack, enter, (&raw mut *self).cast()) }
    }

    /// Executes, or says why not.
    fn execute(&self) -> Result<Never, Errno> {
        let files = match &self.program {
            Program::At(file) => return self.execve(file),
            Program::Among(files) => files,
        };
        let mut result = Errno::NOENT;
        for file in files {
            match self.execve(file) {
                Err(Errno::NOENT | Errno::NOTDIR) => {}
                Err(Errno::ACCESS) => result = Errno::ACCESS,
                other => return other,
            }
        }
        Err(result)
    }

    #[expect(unsafe_code, reason = "rustix keeps execve unstable")]
    fn execve(&self, file: &CStr) -> Result<Never, Errno> {
        let (file, argv, env) = (file.as_ptr(), self.argv.as_ptr(), self.env.as_ptr());
        // SAFETY: the file and all words end in NUL, both arrays end in null, and all of them outlive the call.
        unsafe { libc::execve(file, argv, env) };
        Err(clone::last_error())
    }
}

impl<'a> Program<'a> {
    fn of(prepared: &Prepared<'a>) -> Self {
        let name = prepared.argv[0].to_bytes();
        if name.contains(&b'/') {
            return Self::At(prepared.argv[0]);
        }
        let path = prepared
            .env
            .iter()
            .find_map(|variable| variable.to_bytes().strip_prefix(b"PATH="))
            .unwrap_or(DEFAULT_PATH);
        let place = |folder: &[u8]| {
            let folder = if folder.is_empty() { b"." } else { folder };
            // Neither has a NUL inside, for both ended in one.
            CString::new([folder, b"/", name].concat()).ok()
        };
        Self::Among(path.split(|byte| *byte == b':').filter_map(place).collect())
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
    let at = |stage| move |error| Failure::new(stage, error);
    if let Some(group) = errand.group {
        enter_group(group).map_err(at(Stage::Group))?;
    }
    rustix::process::setsid().map_err(at(Stage::Session))?;
    signals::default();
    let [stdin, stdout, stderr] = errand.descriptors;
    rustix::stdio::dup2_stdin(stdin).map_err(at(Stage::Stdio))?;
    rustix::stdio::dup2_stdout(stdout).map_err(at(Stage::Stdio))?;
    rustix::stdio::dup2_stderr(stderr).map_err(at(Stage::Stdio))?;
    match rustix::process::ioctl_tiocsctty(stdin) {
        // A pipe and `/dev/null` are no terminals, which is how most processes are started.
        Ok(()) | Err(Errno::NOTTY) => {}
        Err(error) => return Err(Failure::new(Stage::Session, error)),
    }
    volunteer_for_the_oom_killer();
    if let Some((uid, gid, groups)) = errand.identity {
        rustix::thread::set_thread_groups(groups).map_err(at(Stage::Identity))?;
        rustix::thread::set_thread_res_gid(*gid, *gid, *gid).map_err(at(Stage::Identity))?;
        rustix::thread::set_thread_res_uid(*uid, *uid, *uid).map_err(at(Stage::Identity))?;
    }
    // As the user, who may be barred from a folder that root may enter.
    rustix::process::chdir(errand.cwd).map_err(at(Stage::Cwd))?;
    errand.execute().map_err(at(Stage::Exec))
}

/// Moves this process.
fn enter_group(group: &OwnedFd) -> Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let members = rustix::fs::openat(group, "cgroup.procs", flags, Mode::empty())?;
    rustix::io::write(members, b"0")?;
    Ok(())
}

/// Refused where `/proc` is missing or we are not root; then all are equal before the OOM killer.
fn volunteer_for_the_oom_killer() {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let file = rustix::fs::open("/proc/self/oom_score_adj", flags, Mode::empty());
    let _ = file.and_then(|file| rustix::io::write(file, OOM_SCORE));
}
