//! The program in the image: PID 1 of a sandbox. `sandbox-supervisor engine` is the local engine instead.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::process::ExitCode;
use std::time::Duration;

use sandbox_supervisor::config::{Command, Config};
use sandbox_supervisor::process::cgroup::Groups;
use sandbox_supervisor::process::zygote::{self, Zygote};
use sandbox_supervisor::{Listener, boot, engine, init};

/// How many threads may look into `/proc`, wait for deaths or write to disk at the same time.
const BLOCKING_THREADS: usize = 64;

/// How long such a thread is kept that has nothing to do: for good. When processes have used up all that the
/// kernel gives, they are killed by a thread that is there, or by none.
const IDLE: Duration = Duration::from_hours(87_600);

fn main() -> ExitCode {
    let command = match Command::from_process() {
        Ok(command) => command,
        Err(error) => {
            eprintln!("supervisor: {error}");
            return ExitCode::from(2);
        }
    };
    let done = match command {
        Command::Supervisor(config) => supervise(*config),
        Command::Engine(config) => engine::serve(config),
        Command::Sandbox(config) => engine::launch(config, supervise),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("supervisor: {error}");
            ExitCode::FAILURE
        }
    }
}

fn supervise(config: Config) -> io::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&config.state_dir)?;
    if !boot::is_first_in(&config.state_dir)? && std::process::id() == 1 {
        eprintln!("supervisor: restarted in a container whose processes are gone; leaving");
        return Ok(());
    }
    let groups = Groups::claim(&config.cgroup);
    // While there is one thread.
    let zygote = zygote::fork()?;
    if let Err(error) = init::raise_descriptor_limit() {
        eprintln!("supervisor: the number of descriptors stays as it is: {error}");
    }
    tokio::runtime::Builder::new_multi_thread()
        .max_blocking_threads(BLOCKING_THREADS)
        .thread_keep_alive(IDLE)
        .enable_all()
        .build()?
        .block_on(serve(config, zygote, groups))
}

async fn serve(config: Config, zygote: Zygote, groups: Option<Groups>) -> io::Result<()> {
    // The first of those that are kept.
    tokio::task::spawn_blocking(|| ()).await?;
    let listener = Listener::bind(&config.listen).await?;
    println!("listening on {}", listener.address()?);
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let mut interrupt = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())?;
    sandbox_supervisor::run(listener, config, zygote, groups, async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
    .await
}
