//! A supervisor that is measured: started on a free port of loopback, with folders of its own, and killed at
//! the end.

use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// What every call shows.
pub(crate) const TOKEN: &str = "a-token-for-measures-only";

/// A supervisor, killed when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    _folder: TempDir,
}

impl Server {
    /// Starts `program` and waits until it listens.
    pub(crate) fn start(program: &Path) -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let workspace = folder.path().join("workspace");
        std::fs::create_dir(&workspace)?;
        let mut child = Command::new(program)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("SANDBOX_TOKEN", TOKEN)
            .env("SANDBOX_PORT", "0")
            .env("SANDBOX_WORKSPACE", workspace)
            .env("SANDBOX_STATE", folder.path().join("state"))
            .env("SANDBOX_USER", "")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        let stdout = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        BufReader::new(stdout).read_line(&mut line)?;
        let port = line.trim_end().rsplit(':').next();
        let port: u16 = port
            .and_then(|port| port.parse().ok())
            .ok_or_else(|| io::Error::other(format!("it does not listen but says {line:?}")))?;
        Ok(Self {
            child,
            address: ([127, 0, 0, 1], port).into(),
            _folder: folder,
        })
    }

    /// The memory that it has now (`VmRSS`) or had at most (`VmHWM`), in bytes.
    pub(crate) fn memory(&self, field: &str) -> io::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find(|line| line.starts_with(field));
        let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
        Ok(kib.ok_or(io::ErrorKind::InvalidData)? << 10)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself, which the measure has noticed then.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
