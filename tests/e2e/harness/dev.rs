//! A server of its own: `dev/serve.mjs`, as `make dev` runs it.

use super::client::Call;
use super::processes::{Process, descendants, resident_bytes};
use super::proxy::Proxy;
use super::sandbox::Sandbox;
use super::socket::Socket;
use hyper::Method;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{LazyLock, Mutex, mpsc};
use std::thread;
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::TcpStream;

/// It may have to build the supervisor, or the image.
const STARTS_WITHIN: Duration = Duration::from_mins(15);

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
}

impl Dev {
    /// The server that all tests of this binary share. Neither reload it nor kill its Worker.
    pub(crate) fn shared() -> &'static Self {
        &SHARED
    }

    /// A server for one test, from a copy of the built Worker. Takes seconds.
    pub(crate) fn start(setup: &Setup) -> Self {
        let project = copy_of(&root().join(setup.folder), setup.objects_of);
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
        let (address, engine) = serving(&mut process, project.path());
        Self {
            engine,
            run,
            registry,
            address: Mutex::new(address),
            vars,
            process: Mutex::new(process),
            lifeline: Mutex::new(lifeline),
            project,
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
        let (address, _) = serving(&mut process, self.project.path());
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

    /// Where workerd keeps what the object `id` of `class` stored.
    pub(super) fn storage(&self, class: &str, id: &str) -> PathBuf {
        let objects = self.project.path().join("state/objects/v3/do");
        objects.join(format!("{}-{class}/{id}.sqlite", self.run))
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

/// Root of the repository.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The Worker in `folder` as built, apart from the project's own copy, so that a test can reload it alone.
fn copy_of(folder: &Path, objects_of: Option<&Dev>) -> TempDir {
    let copy =
        TempDir::with_prefix_in("e2e-", env!("CARGO_TARGET_TMPDIR")).expect("target is writable");
    let build = copy.path().join("build");
    fs::create_dir(&build).expect("a new folder");
    for file in ["index.js", "index_bg.wasm"] {
        fs::copy(folder.join("build").join(file), build.join(file)).expect("it was built");
    }
    let settings = fs::read_to_string(folder.join("wrangler.toml")).expect("its settings");
    let mut settings = with_absolute_paths(&without_build(&settings), folder);
    if let Some(other) = objects_of {
        settings = with_objects_of(&settings, &other.run);
    }
    fs::write(copy.path().join("wrangler.toml"), settings).expect("a new folder");
    copy
}

/// The settings with the paths of the image and of the static files absolute: they are relative to `folder`, and the copy lies elsewhere.
fn with_absolute_paths(settings: &str, folder: &Path) -> String {
    let absolute = |line: &str| {
        let (key, value) = line.split_once(" = ")?;
        let named = ["image", "image_build_context", "directory"].contains(&key);
        let path = value.trim_matches('"');
        named.then(|| format!("{key} = \"{}\"\n", folder.join(path).display()))
    };
    let lines = settings.lines();
    lines
        .map(|line| absolute(line).unwrap_or_else(|| format!("{line}\n")))
        .collect()
}

/// The settings with the objects, and so the containers, of the Worker `run`.
fn with_objects_of(settings: &str, run: &str) -> String {
    let own = ["[[migrations]]", "[[containers]]"];
    let kept = settings
        .split("\n\n")
        .filter(|part| !own.iter().any(|own| part.contains(own)));
    let class = "class_name = \"Sandbox\"";
    let settings = kept.collect::<Vec<_>>().join("\n\n");
    settings.replace(class, &format!("{class}\nscript_name = \"{run}\""))
}

/// The settings without the build: with one, wrangler reloads when a source changes, and the copy has none.
fn without_build(settings: &str) -> String {
    let (before, build) = settings
        .split_once("[build]")
        .expect("wrangler.toml has a build");
    let (_, after) = build
        .split_once("\n\n")
        .expect("something follows the build");
    format!("{before}{after}")
}

/// A valid Worker name that no other server on this machine has.
fn run_name(project: &Path) -> String {
    let unique = project
        .file_name()
        .and_then(|name| name.to_str())
        .expect("a name we gave");
    unique
        .to_ascii_lowercase()
        .replace(|c: char| !c.is_ascii_alphanumeric(), "-")
        + &format!("-{}", std::process::id())
}

fn serving(process: &mut Child, project: &Path) -> (SocketAddr, Engine) {
    let log = project.join("log");
    first_serving_line(process, &log).unwrap_or_else(|| {
        let log = fs::read_to_string(log).expect("the log is there");
        panic!("the server did not start:\n{log}");
    })
}

fn serve(project: &Path, registry: &Path, run: &str, vars: &[(String, String)]) -> Child {
    let bin = root().join("node_modules/.bin");
    let path = std::env::var("PATH").expect("a PATH");
    let vars: Vec<_> = vars
        .iter()
        .map(|(name, value)| format!("{name}:{value}"))
        .collect();
    let log = File::options()
        .create(true)
        .append(true)
        .open(project.join("log"))
        .expect("a new folder");
    Command::new(bin.join("node"))
        .arg(root().join("dev/serve.mjs"))
        .env("PATH", format!("{}:{path}", bin.display()))
        .env("ENGINE", std::env::var("E2E_ENGINE").unwrap_or_default())
        .env("PORT", "0")
        .env("STATE", project.join("state"))
        .env("CONFIG", project.join("wrangler.toml"))
        .env("REGISTRY", registry)
        .env("RUN", run)
        .env("VARS", vars.join("\n"))
        .env("LIFELINE", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .expect("`make setup` has run")
}

/// Waits for `serving http://localhost:PORT on ENGINE`; afterwards a thread goes on writing the log.
fn first_serving_line(process: &mut Child, log: &PathBuf) -> Option<(SocketAddr, Engine)> {
    let stdout = process.stdout.take().expect("it is piped");
    let mut log = File::options()
        .append(true)
        .open(log)
        .expect("the log is there");
    let (found, serving) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            writeln!(log, "{line}").expect("the disk has room");
            if let Some(serving) = parse_serving_line(&line) {
                // Nobody listens after the first.
                let _ = found.send(serving);
            }
        }
    });
    serving.recv_timeout(STARTS_WITHIN).ok()
}

fn parse_serving_line(line: &str) -> Option<(SocketAddr, Engine)> {
    let mut words = line
        .split_once("serving http://localhost:")?
        .1
        .split_whitespace();
    let port: u16 = words.next()?.parse().ok()?;
    let engine = match words.nth(1)?.split('\x1b').next()? {
        "docker" => Engine::Docker,
        "local" => Engine::Local,
        other => panic!("an unknown engine: {other}"),
    };
    Some((SocketAddr::from(([127, 0, 0, 1], port)), engine))
}
