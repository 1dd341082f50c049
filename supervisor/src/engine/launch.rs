//! The launcher: makes the namespaces of one sandbox, forks its supervisor, and outlives it by one kill.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead};
use std::os::fd::{IntoRawFd, OwnedFd};
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{self, Pid, PidfdFlags, Signal, WaitOptions};
use rustix::thread::UnshareFlags;
use sandbox_protocol::routes::TOKEN_VARIABLE;
use serde::{Deserialize, Serialize};

use super::folder::Folder;
use super::root;
use crate::config::{Cgroup, Config, Listen, SandboxConfig, seal};

/// The name of the supervisor's socket in the private folder.
pub(super) const SOCKET: &str = "socket";

/// What the launcher is told by its standard input, in one line of JSON.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Orders {
    /// The supervisor's token; `None` only to try whether the kernel lets us.
    pub(super) token: Option<String>,
    /// The variables of the container that this stands for.
    pub(super) environment: BTreeMap<String, String>,
    /// Whether the kernel has namespaces for us.
    pub(super) namespaces: bool,
}

/// Runs one sandbox: `supervise` becomes its first process. Returns when everything in it is gone, and its
/// folder.
///
/// To be called while there is one thread.
pub fn launch(
    config: SandboxConfig,
    supervise: impl FnOnce(Config) -> io::Result<()>,
) -> io::Result<()> {
    // Started by way of a link, we would go by the link's name.
    rustix::thread::set_name(c"supervisor")?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    let orders: Orders = serde_json::from_str(&line)?;
    // A Ctrl-C in the terminal is for the engine, which then ends us in order. The engine made us no leader
    // of a group, so this cannot fail.
    process::setsid()?;
    let folder = Folder::at(config.folder);
    folder.create()?;
    let ended = outlive(&folder, orders, supervise);
    folder.remove()?;
    ended
}

fn outlive(
    folder: &Folder,
    orders: Orders,
    supervise: impl FnOnce(Config) -> io::Result<()>,
) -> io::Result<()> {
    let Some(group) = folder.cgroup() else {
        return outlive_in(Cgroup::Off, folder, orders, supervise);
    };
    let cgroup = match group.create() {
        Ok(Some(path)) => Cgroup::Folder(path.to_owned()),
        Ok(None) => Cgroup::Off,
        Err(error) => {
            eprintln!("supervisor: this sandbox has no control groups: {error}");
            Cgroup::Off
        }
    };
    let ended = outlive_in(cgroup, folder, orders, supervise);
    group.remove()?;
    ended
}

fn outlive_in(
    cgroup: Cgroup,
    folder: &Folder,
    orders: Orders,
    supervise: impl FnOnce(Config) -> io::Result<()>,
) -> io::Result<()> {
    let namespaces = orders.namespaces;
    if namespaces {
        unshare_pids()?;
    } else {
        process::set_child_subreaper(Some(process::getpid()))?;
    }
    let (alive, alive_end) = pipe_with(PipeFlags::CLOEXEC)?;
    let Some(child) = fork()? else {
        drop(alive_end);
        let done =
            die_with_parent(&alive).and_then(|()| first_process(cgroup, folder, orders, supervise));
        if let Err(error) = &done {
            eprintln!("supervisor: {error}");
        }
        std::process::exit(i32::from(done.is_err()));
    };
    let ended = watch(child);
    if !namespaces {
        kill_children()?;
    }
    ended
}

/// Waits for the end of `child`, or kills it when the engine lets go of our standard input.
fn watch(child: Pid) -> io::Result<()> {
    let handle = process::pidfd_open(child, PidfdFlags::empty())?;
    let stdin = io::stdin();
    let mut events = [
        PollFd::new(&handle, PollFlags::IN),
        PollFd::new(&stdin, PollFlags::IN),
    ];
    while let Err(error) = poll(&mut events, None) {
        if error != Errno::INTR {
            return Err(error.into());
        }
    }
    let by_itself = !events[0].revents().is_empty();
    if !by_itself {
        process::pidfd_send_signal(&handle, Signal::KILL)?;
    }
    // The first process of a namespace is waited for until the whole namespace is gone.
    let status = process::waitpid(Some(child), WaitOptions::empty())?;
    let failed = status.is_none_or(|(_, status)| status.exit_status() != Some(0));
    if by_itself && failed {
        return Err(io::Error::other(
            "the supervisor of a sandbox failed or was killed",
        ));
    }
    Ok(())
}

/// Kills our children until there are none: the orphans of those that die become ours.
fn kill_children() -> io::Result<()> {
    loop {
        for child in fs::read_to_string("/proc/thread-self/children")?.split_whitespace() {
            if let Some(child) = child.parse().ok().and_then(Pid::from_raw) {
                // It is ours and not waited for, so the number is still its own.
                process::kill_process(child, Signal::KILL)?;
            }
        }
        match process::wait(WaitOptions::empty()) {
            Err(Errno::CHILD) => return Ok(()),
            Err(error) if error != Errno::INTR => return Err(error.into()),
            _ => {}
        }
    }
}

/// Gives our children a pid namespace, and us a user namespace where that takes one. In it we are who we are.
fn unshare_pids() -> io::Result<()> {
    let (uid, gid) = (process::geteuid().as_raw(), process::getegid().as_raw());
    match unshare(UnshareFlags::NEWPID) {
        Err(Errno::PERM) => {}
        result => return result.map_err(during("unshare the pid namespace")),
    }
    unshare(UnshareFlags::NEWUSER | UnshareFlags::NEWPID)
        .map_err(during("unshare the user and pid namespaces"))?;
    let wrong = "write the map of the user namespace";
    fs::write("/proc/self/setgroups", "deny").map_err(during(wrong))?;
    fs::write("/proc/self/uid_map", format!("{uid} {uid} 1")).map_err(during(wrong))?;
    fs::write("/proc/self/gid_map", format!("{gid} {gid} 1")).map_err(during(wrong))
}

/// What the child does: its root, then the work of every supervisor.
fn first_process(
    cgroup: Cgroup,
    folder: &Folder,
    orders: Orders,
    supervise: impl FnOnce(Config) -> io::Result<()>,
) -> io::Result<()> {
    if orders.namespaces {
        unshare(UnshareFlags::NEWNS).map_err(during("unshare the mount namespace"))?;
        root::enter(folder).map_err(during("build the sandbox's root"))?;
    }
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let null = rustix::fs::open("/dev/null", flags, Mode::empty())?;
    rustix::stdio::dup2_stdin(&null)?;
    drop(null);
    let Some(token) = orders.token else {
        return Ok(());
    };
    let mut variables = orders.environment;
    variables.insert(TOKEN_VARIABLE.to_owned(), token);
    // Everyone here is whoever runs the engine.
    variables.insert("SANDBOX_USER".to_owned(), String::new());
    let variables = variables.into_iter().map(|(k, v)| (k.into(), v.into()));
    let mut config = Config::from_variables(variables.collect()).map_err(io::Error::other)?;
    config.cgroup = cgroup;
    if orders.namespaces {
        config.listen = Listen::Unix(Path::new(root::PRIVATE).join(SOCKET));
        config.state_dir = Path::new(root::PRIVATE).join("state");
    } else {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let private = rustix::fs::open(folder.private(), flags, Mode::empty())?;
        // By its number, for the path may be longer than a socket's may be. It stays open as long as we live.
        let private_fd = private.into_raw_fd();
        config.listen = Listen::Unix(format!("/proc/self/fd/{private_fd}/{SOCKET}").into());
        config.state_dir = folder.private().join("state");
        config.workspace = folder.workspace();
        config.workspace_unavailable = true;
    }
    seal().map_err(io::Error::other)?;
    supervise(config)
}

/// Has the kernel kill this process when its parent dies, and ends it if that has happened already: then
/// nobody holds the other end of `alive`.
fn die_with_parent(alive: &OwnedFd) -> io::Result<()> {
    process::set_parent_process_death_signal(Some(Signal::KILL))?;
    let mut event = [PollFd::new(alive, PollFlags::IN)];
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    poll(&mut event, Some(&now))?;
    if event[0].revents().is_empty() {
        return Ok(());
    }
    Err(io::Error::other("the launcher is gone"))
}

/// Puts what was being done before an error's own words; for `map_err`.
fn during<E: Into<io::Error>>(doing: &'static str) -> impl FnOnce(E) -> io::Error {
    move |error| {
        let error: io::Error = error.into();
        io::Error::new(error.kind(), format!("{doing}: {error}"))
    }
}

#[expect(unsafe_code, reason = "no safe wrapper unshares")]
fn unshare(flags: UnshareFlags) -> Result<(), Errno> {
    // SAFETY: only NEWUSER, NEWPID and NEWNS are asked for, which leave memory and descriptors shared as they
    // are; and there is one thread.
    unsafe { rustix::thread::unshare_unsafe(flags) }
}

/// The child's pid, or `None` in the child.
#[expect(unsafe_code, reason = "no safe wrapper forks")]
fn fork() -> io::Result<Option<Pid>> {
    // SAFETY: there is one thread, so the child finds no lock held and may go on as any process.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        pid => Ok(Pid::from_raw(pid)),
    }
}
