//! A server of its own: `dev/serve.mjs`, as `make dev` runs it.

use super::client::Call;
use super::processes::{Process, descendants, resident_bytes};
use super::proxy::Proxy;
use super::sandbox::Sandbox;
use super::server::{Updates, copy_of, root, run_name, serve, serving};
use super::socket::Socket;
use super::storage::Locked;
use super::within;
use futures::StreamExt;
use hmac::{Hmac, Mac};
use hyper::Method;
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin};
use std::sync::{LazyLock, Mutex};
use std::thread;
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::TcpStream;

static SHARED: LazyLock<Dev> = LazyLock::new(|| {
    stop_shared_at_exit();
    Dev::start(&Setup::DEFAULT)
});

/// Where the sandboxes run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Engine {
    Docker,
    Local,
}

/// What differs from `make dev`.
pub(crate) struct Setup<'a> {
    /// Variables that go over those of `wrangler.toml`.
    pub(crate) vars: &'a [(&'a str, &'a str)],
    /// The folder of the Worker, from the root of the repository; empty for the project's own.
    pub(crate) folder: &'a str,
    /// A server whose objects this Worker calls, in place of its own.
    pub(crate) objects_of: Option<&'a Dev>,
}

impl Setup<'_> {
    /// Nothing differs.
    pub(crate) const DEFAULT: Self = Self {
        vars: &[],
        folder: "",
        objects_of: None,
    };
}

/// A running server. Dropping it stops it and all that it started.
pub(crate) struct Dev {
    pub(crate) engine: Engine,
    /// The Worker's name, part of the names of its containers.
    pub(super) run: String,
    /// Where servers find each other.
    registry: PathBuf,
    address: Mutex<SocketAddr>,
    vars: Vec<(String, String)>,
    process: Mutex<Child>,
    /// Its end is an order to stop, also when this process is killed.
    lifeline: Mutex<Option<ChildStdin>>,
    project: TempDir,
    /// One for each time that wrangler serves changed code.
    updates: Mutex<Updates>,
}

impl Dev {
    /// The server that all tests of this binary share. Neither reload it nor kill its Worker.
    pub(crate) fn shared() -> &'static Self {
        &SHARED
    }

    /// A server for one test, from a copy of the built Worker. Takes seconds.
    pub(crate) fn start(setup: &Setup) -> Self {
        let project = copy_of(
            &root().join(setup.folder),
            setup.objects_of.map(|other| other.run.as_str()),
        );
        let run = run_name(project.path());
        let registry = setup.objects_of.map_or_else(
            || project.path().join("registry"),
            |other| other.registry.clone(),
        );
        let vars = setup.vars.iter();
        let vars: Vec<_> = vars
            .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
            .collect();
        let mut process = serve(project.path(), &registry, &run, &vars);
        let lifeline = process.stdin.take();
        let (address, engine, updates) = serving(&mut process, project.path());
        Self {
            engine,
            run,
            registry,
            address: Mutex::new(address),
            vars,
            process: Mutex::new(process),
            lifeline: Mutex::new(lifeline),
            project,
            updates: Mutex::new(updates),
        }
    }

    /// An id that no other test uses.
    pub(crate) fn sandbox(&self) -> Sandbox<'_> {
        Sandbox::new(self)
    }

    /// A `GET` of a path.
    pub(crate) fn get(&self, path: &str) -> Call {
        self.call(Method::GET, path)
    }

    /// A `POST` to a path.
    pub(crate) fn post(&self, path: &str) -> Call {
        self.call(Method::POST, path)
    }

    /// A `PUT` to a path.
    pub(crate) fn put(&self, path: &str) -> Call {
        self.call(Method::PUT, path)
    }

    /// A `DELETE` of a path.
    pub(crate) fn delete(&self, path: &str) -> Call {
        self.call(Method::DELETE, path)
    }

    /// Any call to the server.
    pub(crate) fn call(&self, method: Method, path: &str) -> Call {
        Call::new(self.address(), method, path)
    }

    fn address(&self) -> SocketAddr {
        *self.address.lock().expect("nobody panics with this")
    }

    /// Stops the server with all that it started, and starts another on the same state: a fresh workerd reads back
    /// what the objects stored.
    pub(crate) fn restart(&self) {
        self.stop();
        let mut process = serve(self.project.path(), &self.registry, &self.run, &self.vars);
        *self.lifeline.lock().expect("nobody panics with this") = process.stdin.take();
        let (address, _, updates) = serving(&mut process, self.project.path());
        *self.updates.lock().expect("nobody panics with this") = updates;
        *self.address.lock().expect("nobody panics with this") = address;
        *self.process.lock().expect("nobody panics with this") = process;
    }

    /// Kills the workerd that runs the Worker, not the one in front of it; wrangler starts another.
    pub(crate) fn kill_workerd(&self) {
        let workerds = descendants(self.pid());
        let own = workerds
            .iter()
            .find(|process| process.name == "workerd" && process.command.contains("--debug-port"));
        own.expect("the Worker runs").kill();
    }

    /// The local engine's own process; nothing on Docker.
    pub(crate) fn engine_process(&self) -> Option<Process> {
        let all = descendants(self.pid());
        all.into_iter()
            .find(|process| process.command.contains(" engine --listen"))
    }

    /// Where workerd keeps what the object `name` of `class` stored.
    pub(super) fn storage(&self, class: &str, name: &str) -> PathBuf {
        let objects = self.project.path().join("state/objects/v3/do");
        let id = self.object_id(class, name);
        objects.join(format!("{}-{class}/{id}.sqlite", self.run))
    }

    /// What workerd makes of an object's name: half of it the name's HMAC, half a proof that it was made so.
    pub(super) fn object_id(&self, class: &str, name: &str) -> String {
        let key = Sha256::digest(format!("{}-{class}", self.run));
        let half = |message: &[u8]| {
            let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("an HMAC takes any key");
            mac.update(message);
            mac.finalize().into_bytes()[..16].to_vec()
        };
        let name = half(name.as_bytes());
        let bytes = [name.clone(), half(&name)].concat();
        bytes.iter().fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").expect("a string takes everything");
            hex
        })
    }

    /// Nothing can be written to the registry until the result is dropped. It must have been asked before.
    pub(crate) fn lock_registry(&self) -> Locked {
        let shards = (0..16).map(|shard| self.storage("Registry", &format!("shard-{shard}")));
        Locked::lock(&shards.collect::<Vec<_>>())
    }

    /// Where it listens, for a client that is not ours.
    pub(crate) fn url(&self) -> String {
        format!("http://localhost:{}", self.address().port())
    }

    /// Opens a WebSocket; the status of a refusal.
    pub(crate) async fn socket(&self, path: &str) -> Result<Socket, u16> {
        Socket::open(self.address(), path).await
    }

    /// A wire to it that breaks; see [`Proxy`]. Of the answers to requests that begin with `begin` (`GET /path`), as
    /// many as there are `cuts` break after so many bytes.
    pub(crate) async fn proxy(&self, begin: &str, cuts: &[usize]) -> Proxy {
        Proxy::start(self.address(), begin, cuts).await
    }

    /// A bare connection, for what no client does by itself.
    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address())
            .await
            .expect("the server listens")
    }

    /// Changes the Worker's code, so that wrangler loads it anew: the isolate and every object die where they are.
    pub(crate) fn reload(&self) {
        let path = self.project.path().join("build/index.js");
        let mut file = File::options()
            .append(true)
            .open(path)
            .expect("the copy of the Worker");
        writeln!(file, "// loaded anew").expect("the disk has room");
    }

    /// Waits until the code of the last [`Self::reload`] is served.
    pub(crate) async fn reloaded(&self) {
        let next = std::future::poll_fn(|context| {
            let mut updates = self.updates.lock().expect("nobody panics with this");
            updates.poll_next_unpin(context)
        });
        let said = within(Duration::from_mins(1), "the code to be loaded anew", next).await;
        said.expect("the server lives");
    }

    /// The resident memory of every workerd of this server, in bytes.
    pub(crate) fn workerd_memory(&self) -> u64 {
        self.workerds()
            .map(|pid| resident_bytes(pid).unwrap_or(0))
            .sum()
    }

    /// What the server has printed so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.project.path().join("log")).expect("the log is there")
    }

    pub(super) fn pid(&self) -> u32 {
        self.process
            .lock()
            .expect("no test panics while it holds this")
            .id()
    }

    fn workerds(&self) -> impl Iterator<Item = u32> {
        descendants(self.pid())
            .into_iter()
            .filter(|process| process.name == "workerd")
            .map(|process| process.pid)
    }

    fn stop(&self) {
        drop(
            self.lifeline
                .lock()
                .expect("no test panics while it holds this")
                .take(),
        );
        let status = self
            .process
            .lock()
            .expect("no test panics while it holds this")
            .wait();
        assert!(
            status.expect("our child").success(),
            "the server stops cleanly:\n{}",
            self.log()
        );
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("the server's log:\n{}", self.log());
        }
        self.stop();
    }
}

/// Statics are never dropped, so that the shared server needs another end.
fn stop_shared_at_exit() {
    extern "C" fn stop() {
        if let Some(dev) = LazyLock::get(&SHARED) {
            dev.stop();
            let log = format!("e2e-{:?}.log", dev.engine).to_lowercase();
            let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(log);
            fs::copy(dev.project.path().join("log"), &kept).expect("target is writable");
            fs::remove_dir_all(dev.project.path()).expect("the folder is ours");
        }
    }
    // SAFETY: `stop` is a plain function that does not unwind over the boundary: a panic in it aborts.
    #[expect(unsafe_code, reason = "there is no safe call for it")]
    let refused = unsafe { libc::atexit(stop) };
    assert_eq!(refused, 0, "atexit");
}
