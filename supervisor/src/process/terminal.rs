//! A process on a terminal of its own, which clients come to and go from.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::fs::{Gid, Uid};
use rustix::pty::OpenptFlags;
use rustix::termios::{InputModes, OptionalActions, Winsize};
use sandbox_protocol::process::{Kill, ProcessRequest, Stderr, Stdin};
use sandbox_protocol::signal::Signal;
use sandbox_protocol::terminal::{Size, TerminalSpec};
use tokio::sync::watch;
use tokio::time::sleep;

use super::Process;
use super::launch::{Identity, Launch};
use super::pipes::Ours;
use super::report::SpawnError;
use super::spawn::{Keeper, Spawner, Started};
use super::table::{Table, exists, generated_id};
use crate::error::Error;
use crate::logs::{Follower, Reader};

/// How long a terminal without a name lives on when its last client has gone.
const ABANDONED: Duration = Duration::from_secs(10);

/// How much of what was shown a client that comes is shown again, in bytes.
const REPLAY_BYTES: u64 = 256 << 10;

/// How an abandoned terminal is ended: as one is whose window was closed.
const HANG_UP: Kill = Kill {
    signal: Signal::HUP,
    grace_ms: Some(5000),
};

/// What programs are told that they draw on.
const TERM: &str = "xterm-256color";

/// Both ends of a terminal.
#[derive(Debug)]
pub(super) struct Terminal {
    ends: Mutex<Ends>,
    /// Whether it outlives its clients.
    lasts: bool,
    /// How many clients there are.
    clients: watch::Sender<usize>,
}

#[derive(Debug)]
struct Ends {
    /// Ours, until the process has ended.
    ours: Option<OwnedFd>,
    /// The process's, until it is started.
    theirs: Option<OwnedFd>,
}

impl Terminal {
    /// Opens one of `size`, which `owner` may open too, by its path.
    fn open(size: Size, owner: Option<&Identity>, lasts: bool) -> io::Result<Self> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let ours = rustix::pty::openpt(flags)?;
        rustix::pty::grantpt(&ours)?;
        rustix::pty::unlockpt(&ours)?;
        // By our end and not by its path, which may lead elsewhere in another namespace.
        let theirs = rustix::pty::ioctl_tiocgptpeer(&ours, flags)?;
        if let Some(Identity { uid, gid, .. }) = owner {
            let (uid, gid) = (Uid::from_raw(*uid), Gid::from_raw(*gid));
            rustix::fs::fchown(&theirs, Some(uid), Some(gid))?;
        }
        // A backspace erases a character, however many bytes it has.
        let mut modes = rustix::termios::tcgetattr(&theirs)?;
        modes.input_modes |= InputModes::IUTF8;
        rustix::termios::tcsetattr(&theirs, OptionalActions::Now, &modes)?;
        let terminal = Self {
            ends: Mutex::new(Ends {
                ours: Some(ours),
                theirs: Some(theirs),
            }),
            lasts,
            clients: watch::Sender::new(0),
        };
        terminal.resize(size)?;
        Ok(terminal)
    }

    /// Starts `launch` on it. It becomes the controlling terminal of the process's session.
    pub(super) async fn spawn(
        &self,
        spawner: &Spawner,
        launch: &Launch,
    ) -> Result<(Started, Ours), SpawnError> {
        let (ours, theirs) = {
            let mut ends = self.ends();
            let ours = ends.ours.as_ref().zip(ends.theirs.as_ref());
            let (ours, _) = ours.ok_or_else(closed)?;
            let ours = Ours {
                stdin: Some(ours.try_clone()?),
                stdout: ours.try_clone()?,
                stderr: None,
            };
            (ours, ends.theirs.take().ok_or_else(closed)?)
        };
        let end = theirs.as_fd();
        let started = spawner.spawn(launch, [end; 3], Keeper::Own).await?;
        Ok((started, ours))
    }

    /// Gives it another size, of which what runs in the foreground is told.
    fn resize(&self, size: Size) -> io::Result<()> {
        let Some(ours) = &self.ends().ours else {
            return Ok(());
        };
        let size = Winsize {
            ws_row: size.rows,
            ws_col: size.cols,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        Ok(rustix::termios::tcsetwinsize(ours, size)?)
    }

    /// Lets go of it: its process has ended.
    pub(super) fn close(&self) {
        let mut ends = self.ends();
        (ends.ours, ends.theirs) = (None, None);
    }

    fn ends(&self) -> MutexGuard<'_, Ends> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn closed() -> io::Error {
    io::Error::other("the terminal is closed")
}

impl Table {
    /// The terminal that `spec` names, if it runs; else a new one, which fails as a start does.
    /// `PROCESS_ALREADY_EXISTS` if the name is that of a process without a terminal.
    pub async fn terminal(&self, spec: &TerminalSpec) -> Result<Process, Error> {
        let id = match &spec.session {
            Some(session) => session.as_str().to_owned(),
            None => generated_id()?,
        };
        if let Ok(process) = self.get(&id)
            && !process.is_over()
        {
            return match process.0.terminal {
                Some(_) => Ok(process),
                None => Err(exists(&id)),
            };
        }
        let request = ProcessRequest {
            argv: Some(vec![spec.shell.clone()]),
            env: [("TERM".to_owned(), Some(TERM.to_owned()))].into(),
            stdin: Stdin::Pipe,
            stderr: Stderr::Merge,
            ..ProcessRequest::default()
        };
        let process = request.validate()?;
        let launch = self.launch(&process.command, &process.cwd, &process.env, None)?;
        let lasts = spec.session.is_some();
        let terminal = Terminal::open(spec.size, launch.identity.as_ref(), lasts)
            .map_err(Error::internal("opening a terminal"))?;
        let (process, _) = self.enter(id, process, launch, Some(terminal))?;
        process.started().await?;
        Ok(process)
    }
}

/// A client of a terminal, to be seen off with [`Client::leave`].
#[derive(Debug)]
pub struct Client {
    process: Process,
    _place: Follower,
}

impl Process {
    /// Joins its terminal, whose size becomes the client's. `TOO_MANY_SUBSCRIBERS`.
    pub fn join(&self, size: Size) -> Result<Client, Error> {
        let place = self.ledger().follower()?;
        if let Some(terminal) = &self.0.terminal {
            terminal.clients.send_modify(|clients| *clients += 1);
        }
        let client = Client {
            process: self.clone(),
            _place: place,
        };
        client.resize(size);
        Ok(client)
    }
}

impl Client {
    /// Whose terminal it is.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// What was shown last, and what is shown from now on.
    pub async fn screen(&self) -> Result<Reader, Error> {
        let newest = self.process.ledger().newest(REPLAY_BYTES).await;
        newest.map_err(Error::internal("reading what was shown"))
    }

    /// Gives the terminal this size.
    pub fn resize(&self, size: Size) {
        let resized = self.process.0.terminal.as_ref();
        if let Some(Err(error)) = resized.map(|terminal| terminal.resize(size)) {
            let id = self.process.id();
            eprintln!("supervisor: the terminal of {id} keeps its size: {error}");
        }
    }

    /// Goes. The last one of a terminal without a name takes it along, unless another comes in time.
    pub async fn leave(self) {
        let Some(terminal) = &self.process.0.terminal else {
            return;
        };
        terminal.clients.send_modify(|clients| *clients -= 1);
        if terminal.lasts {
            return;
        }
        let mut clients = terminal.clients.subscribe();
        let abandoned = tokio::select! {
            _ = self.process.exited() => false,
            _ = clients.wait_for(|clients| *clients > 0) => false,
            () = sleep(ABANDONED) => true,
        };
        if abandoned && let Err(error) = self.process.kill(HANG_UP).await {
            eprintln!("supervisor: an abandoned terminal: {error}");
        }
    }
}
