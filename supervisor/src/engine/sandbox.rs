//! One sandbox as the engine holds it: a launcher, told what to do by a pipe and gone when the pipe is.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::pipe;
use tokio::sync::watch;
use tokio::time::timeout;

use super::folder::Folder;
use super::launch::{Orders, SOCKET};

/// How long a sandbox may take to listen. It takes milliseconds; mounting a share that is away takes longer.
const START_LIMIT: Duration = Duration::from_secs(30);

/// A sandbox that was started. Dropping it kills it.
#[derive(Debug)]
pub(super) struct Sandbox {
    /// What keeps it alive; gone when it is to end.
    orders: Mutex<Option<ChildStdin>>,
    /// Where it prints. Kept open, so that printing is no error.
    _output: pipe::Receiver,
    /// The folder with its socket; by its number, for the path may be longer than a socket's may be.
    private: OwnedFd,
    ended: watch::Receiver<bool>,
}

impl Sandbox {
    /// Starts a sandbox in `folder` and waits until its supervisor listens.
    pub(super) async fn start(
        folder: PathBuf,
        token: String,
        environment: BTreeMap<String, String>,
        namespaces: bool,
    ) -> io::Result<Self> {
        let orders = Orders {
            token: Some(token),
            environment,
            namespaces,
        };
        let mut child = spawn(&folder, &orders)?;
        let pipes = (child.stdin.take(), child.stdout.take());
        let (Some(stdin), Some(stdout)) = pipes else {
            return Err(io::Error::other("a launcher without pipes"));
        };
        let mut ended = await_end(child, Folder::at(folder.clone()))?;
        let mut output = BufReader::new(pipe::Receiver::from_owned_fd(stdout.into())?);
        let mut line = String::new();
        // From here on, leaving early drops the pipe and with it the sandbox.
        let listens = timeout(START_LIMIT, output.read_line(&mut line)).await;
        if !matches!(listens, Ok(Ok(1..))) {
            drop(stdin);
            ended
                .wait_for(|ended| *ended)
                .await
                .map_err(io::Error::other)?;
            return Err(io::Error::other("the sandbox did not come up"));
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let private = Folder::at(folder).private();
        Ok(Self {
            orders: Mutex::new(Some(stdin)),
            _output: output.into_inner(),
            private: rustix::fs::open(private, flags, Mode::empty())?,
            ended,
        })
    }

    /// Whether its supervisor lives.
    pub(super) fn is_running(&self) -> bool {
        !*self.ended.borrow()
    }

    /// A connection to its supervisor.
    pub(super) async fn connect(&self) -> io::Result<UnixStream> {
        UnixStream::connect(format!(
            "/proc/self/fd/{}/{SOCKET}",
            self.private.as_raw_fd()
        ))
        .await
    }

    /// Kills it and waits until everything in it is gone, and its folder.
    pub(super) async fn destroy(&self) {
        drop(
            self.orders
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(),
        );
        // The thread that waits tells the end before it lets go of its end of the channel.
        let _ = self.ended.clone().wait_for(|ended| *ended).await;
    }
}

/// Tries in `folder` whether the kernel has namespaces for us. An error says why not.
pub(super) fn try_namespaces(folder: &Path) -> io::Result<()> {
    let orders = Orders {
        token: None,
        environment: BTreeMap::new(),
        namespaces: true,
    };
    let mut child = spawn(folder, &orders)?;
    // Kept open meanwhile, so that it ends by itself.
    let pipe = child.stdin.take();
    let status = child.wait()?;
    drop(pipe);
    if status.success() {
        return Ok(());
    }
    Err(io::Error::other("the trial failed, as told above"))
}

/// Starts this very program as a launcher and gives it its orders.
fn spawn(folder: &Path, orders: &Orders) -> io::Result<Child> {
    let mut child = Command::new("/proc/self/exe")
        .arg0("sandbox-supervisor")
        .args(["sandbox".as_ref(), "--folder".as_ref(), folder.as_os_str()])
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = serde_json::to_vec(orders)?;
    line.push(b'\n');
    let pipe = child.stdin.as_mut();
    let pipe = pipe.ok_or_else(|| io::Error::other("a launcher without pipes"))?;
    pipe.write_all(&line)?;
    Ok(child)
}

/// Waits for `child`, the launcher of `folder`, on a thread and tells when it has ended.
fn await_end(mut child: Child, folder: Folder) -> io::Result<watch::Receiver<bool>> {
    let (sender, ended) = watch::channel(false);
    thread::Builder::new()
        .name("launcher".to_owned())
        .stack_size(64 << 10)
        .spawn(move || {
            let waited = child.wait();
            // One that was killed has left it.
            let removed = folder.cgroup().map_or(Ok(()), |group| group.remove());
            if let Err(error) = waited.and(removed) {
                eprintln!("engine: the end of a launcher: {error}");
            }
            sender.send_replace(true);
        })?;
    Ok(ended)
}
