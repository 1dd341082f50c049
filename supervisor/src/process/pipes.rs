//! The pipes between a process and the supervisor.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::pipe::PipeFlags;

use super::launch::Launch;
use super::report::SpawnError;
use super::spawn::{Keeper, Spawner, Started};

/// Both ends of them, until the process is started.
#[derive(Debug)]
pub(super) struct Pipes {
    /// What the process gets, until it is started.
    theirs: Theirs,
    /// What stays here.
    pub(super) ours: Ours,
}

#[derive(Debug)]
struct Theirs {
    stdin: Option<OwnedFd>,
    stdout: OwnedFd,
    stderr: Option<OwnedFd>,
}

/// The supervisor's ends.
#[derive(Debug)]
pub(super) struct Ours {
    /// Writes what the process reads, if it reads a pipe.
    pub(super) stdin: Option<OwnedFd>,
    /// Reads what it prints.
    pub(super) stdout: OwnedFd,
    /// Reads what it prints on standard error, unless that goes to `stdout`.
    pub(super) stderr: Option<OwnedFd>,
}

impl Pipes {
    /// Makes them: one for standard input if `stdin`, one for standard error unless `merge`.
    pub(super) fn new(stdin: bool, merge: bool) -> io::Result<Self> {
        let pipe = || rustix::pipe::pipe_with(PipeFlags::CLOEXEC);
        let (stdin_reader, stdin_writer) = stdin.then(pipe).transpose()?.unzip();
        let (stdout_reader, stdout_writer) = pipe()?;
        let (stderr_reader, stderr_writer) = (!merge).then(pipe).transpose()?.unzip();
        Ok(Self {
            theirs: Theirs {
                stdin: stdin_reader,
                stdout: stdout_writer,
                stderr: stderr_writer,
            },
            ours: Ours {
                stdin: stdin_writer,
                stdout: stdout_reader,
                stderr: stderr_reader,
            },
        })
    }

    /// Starts `launch` on these pipes, under such a shim, and keeps only our ends.
    pub(super) async fn spawn(
        self,
        spawner: &Spawner,
        launch: &Launch,
        keeper: Keeper,
    ) -> Result<(Started, Ours), SpawnError> {
        let Theirs {
            stdin,
            stdout,
            stderr,
        } = &self.theirs;
        let stdin = stdin.as_ref().map_or(spawner.null(), AsFd::as_fd);
        let stderr = stderr.as_ref().unwrap_or(stdout).as_fd();
        let started = spawner
            .spawn(launch, [stdin, stdout.as_fd(), stderr], keeper)
            .await?;
        Ok((started, self.ours))
    }
}
