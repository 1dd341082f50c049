//! Starting a server: its copy of the Worker, its settings, and the line that says where it listens.

use super::dev::Engine;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

/// It may have to build the supervisor, or the image.
const STARTS_WITHIN: Duration = Duration::from_mins(15);

/// Tells each time that wrangler serves changed code.
pub(super) type Updates = futures::channel::mpsc::UnboundedReceiver<()>;

/// Root of the repository.
pub(super) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The Worker in `folder` as built, with the objects of the Worker `objects_of` if there is one, apart from the project's own copy, so that a test can reload it alone.
pub(super) fn copy_of(folder: &Path, objects_of: Option<&str>) -> TempDir {
    let copy =
        TempDir::with_prefix_in("e2e-", env!("CARGO_TARGET_TMPDIR")).expect("target is writable");
    let build = copy.path().join("build");
    fs::create_dir(&build).expect("a new folder");
    for file in ["index.js", "index_bg.wasm"] {
        fs::copy(folder.join("build").join(file), build.join(file)).expect("it was built");
    }
    let settings = fs::read_to_string(folder.join("wrangler.toml")).expect("its settings");
    let mut settings = with_absolute_paths(&without_build(&settings), folder);
    if let Some(run) = objects_of {
        settings = with_objects_of(&settings, run);
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
pub(super) fn run_name(project: &Path) -> String {
    let unique = project
        .file_name()
        .and_then(|name| name.to_str())
        .expect("a name we gave");
    unique
        .to_ascii_lowercase()
        .replace(|c: char| !c.is_ascii_alphanumeric(), "-")
        + &format!("-{}", std::process::id())
}

/// Where the server listens, on which engine, and its updates; panics with its log if it does not start.
pub(super) fn serving(process: &mut Child, project: &Path) -> (SocketAddr, Engine, Updates) {
    let log = project.join("log");
    first_serving_line(process, &log).unwrap_or_else(|| {
        let log = fs::read_to_string(log).expect("the log is there");
        panic!("the server did not start:\n{log}");
    })
}

/// Starts the server from the copy in `project`.
pub(super) fn serve(
    project: &Path,
    registry: &Path,
    run: &str,
    vars: &[(String, String)],
) -> Child {
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

/// Waits for `serving http://localhost:PORT on ENGINE`; afterwards a thread goes on writing the log, and tells of
/// updates.
fn first_serving_line(process: &mut Child, log: &PathBuf) -> Option<(SocketAddr, Engine, Updates)> {
    let stdout = process.stdout.take().expect("it is piped");
    let mut log = File::options()
        .append(true)
        .open(log)
        .expect("the log is there");
    let (found, serving) = mpsc::channel();
    let (told, updates) = futures::channel::mpsc::unbounded();
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            writeln!(log, "{line}").expect("the disk has room");
            if let Some(serving) = parse_serving_line(&line) {
                // Nobody listens after the first.
                let _ = found.send(serving);
            }
            if line.contains("Local server updated and ready") {
                // Nobody listens after a restart.
                let _ = told.unbounded_send(());
            }
        }
    });
    let (address, engine) = serving.recv_timeout(STARTS_WITHIN).ok()?;
    Some((address, engine, updates))
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
