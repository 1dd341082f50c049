//! The library: a typed handle on a sandbox, for Workers that are written in Rust.
//!
//! ```no_run
//! use futures::TryStreamExt;
//! use workers_sandbox::{LogEvent, PortCheck, ProcessOptions, SandboxOptions, get_sandbox};
//!
//! # async fn example(env: &worker::Env) -> Result<(), workers_sandbox::Error> {
//! let sandbox = get_sandbox(env, "SANDBOX", "my-sandbox", SandboxOptions::new().keep_alive(true))?;
//! let server = sandbox
//!     .start_process(
//!         "node server.js",
//!         ProcessOptions::new().cwd("/workspace/api").env("PORT", "8080"),
//!     )
//!     .await?;
//! server.wait_for_port(8080, PortCheck::http("/health")).await?;
//!
//! let mut logs = server.stream_logs().await?;
//! while let Some(event) = logs.try_next().await? {
//!     if let LogEvent::Stdout(output) = event {
//!         worker::console_log!("{}", output.data);
//!     }
//! }
//! sandbox.destroy().await?;
//! # Ok(())
//! # }
//! ```

mod builds;
mod calls;
mod error;
mod options;
mod process;
mod stream;

use std::cell::RefCell;
use std::rc::Rc;

use sandbox_protocol::exec::{ExecRequest, ExecResult};
use sandbox_protocol::id::{SANDBOX_ID_RULE, SandboxId};
use sandbox_protocol::process::{KillAllReceipt, ProcessList};
use sandbox_protocol::request::invalid;
use sandbox_protocol::sandbox::{KeepAliveRequest, OptionsRequest, Receipt, Sandbox, SleepAfter};
use worker::{Env, Method};

use calls::Calls;

pub use error::Error;
pub use options::{BuildOptions, ExecOptions, PortCheck, ProcessOptions, SandboxOptions, Signal};
pub use process::{Exit, LogMatch, Process};
pub use stream::Events;

pub use sandbox_protocol::log::{LogEvent, Logs, Output};
pub use sandbox_protocol::process::{KillReceipt, ProcessStatus};

/// A handle on the sandbox `id`, whose objects are bound as `binding`. Nothing is started, and `options` are
/// sent with the first call. An error if the binding or the id is wrong.
pub fn get_sandbox(
    env: &Env,
    binding: &str,
    id: &str,
    options: SandboxOptions,
) -> Result<SandboxHandle, Error> {
    let id = SandboxId::parse(id).ok_or_else(|| invalid("id", SANDBOX_ID_RULE))?;
    let stub = env.durable_object(binding)?.get_by_name(id.as_str())?;
    Ok(SandboxHandle {
        calls: Rc::new(Calls::new(stub, id)),
        options: Rc::new(RefCell::new(options.into_request())),
    })
}

/// A handle on a sandbox. A cheap clone.
#[derive(Clone)]
pub struct SandboxHandle {
    calls: Rc<Calls>,
    /// What is still to be set.
    options: Rc<RefCell<Option<OptionsRequest>>>,
}

impl SandboxHandle {
    /// The calls, once the options that were given at first are set.
    async fn ready(&self) -> Result<&Rc<Calls>, Error> {
        let pending = self.options.borrow_mut().take();
        if let Some(options) = pending
            && let Err(error) = self.set_options(&options).await
        {
            // The next call tries again.
            self.options.replace(Some(options));
            return Err(error);
        }
        Ok(&self.calls)
    }

    async fn set_options(&self, options: &OptionsRequest) -> Result<Sandbox, Error> {
        self.calls.json(Method::Patch, "", Some(options)).await
    }

    /// Starts `command` by `bash -c` in the background.
    pub async fn start_process(
        &self,
        command: &str,
        options: ProcessOptions,
    ) -> Result<Process, Error> {
        let calls = self.ready().await?;
        let request = options.into_request(command)?;
        let started = calls
            .json(Method::Post, "/processes", Some(&request))
            .await?;
        Ok(Process::new(calls, started))
    }

    /// Every process, oldest first, also those that have ended. Starts nothing.
    pub async fn list_processes(&self) -> Result<Vec<Process>, Error> {
        let calls = self.ready().await?;
        let list: ProcessList = calls.get("/processes").await?;
        let handle = |process| Process::new(calls, process);
        Ok(list.processes.into_iter().map(handle).collect())
    }

    /// The process `id`; `None` if there is none of this name.
    pub async fn get_process(&self, id: &str) -> Result<Option<Process>, Error> {
        let calls = self.ready().await?;
        match calls.get(&calls::process_path(id)?).await {
            Ok(process) => Ok(Some(Process::new(calls, process))),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The log of the process `id` as it is now.
    pub async fn get_process_logs(&self, id: &str) -> Result<Logs, Error> {
        let path = format!("{}/logs", calls::process_path(id)?);
        self.ready().await?.get(&path).await
    }

    /// The log of the process `id` as it is printed, from its beginning to its exit. A stream that is cut
    /// goes on by itself where it was.
    pub async fn stream_process_logs(&self, id: &str) -> Result<Events, Error> {
        let path = format!("{}/logs", calls::process_path(id)?);
        Events::open(self.ready().await?, path).await
    }

    /// Sends `signal` to the whole tree of the process `id`, and kills what is left after the signal's grace.
    pub async fn kill_process(&self, id: &str, signal: Signal) -> Result<KillReceipt, Error> {
        let path = format!("{}/kill", calls::process_path(id)?);
        let calls = self.ready().await?;
        calls
            .json(Method::Post, &path, Some(&signal.into_request()))
            .await
    }

    /// Terminates every process; how many were running.
    pub async fn kill_all_processes(&self) -> Result<u32, Error> {
        let calls = self.ready().await?;
        let receipt: KillAllReceipt = calls
            .json(Method::Delete, "/processes", None::<&()>)
            .await?;
        Ok(receipt.killed)
    }

    /// Runs `command` by `bash -c` and collects what it prints.
    pub async fn exec(&self, command: &str, options: ExecOptions) -> Result<ExecResult, Error> {
        let request: ExecRequest = options.into_request(command);
        let calls = self.ready().await?;
        calls.json(Method::Post, "/exec", Some(&request)).await
    }

    /// Keeps the sandbox although idle, up to the deployment's ceiling, or no longer.
    pub async fn set_keep_alive(&self, keep: bool) -> Result<(), Error> {
        self.change(OptionsRequest {
            keep_alive: Some(KeepAliveRequest::Switch(keep)),
            ..OptionsRequest::default()
        })
        .await
    }

    /// How long the sandbox may idle: `"30m"`, `"90s"`, `"2h"`.
    pub async fn set_sleep_after(&self, duration: &str) -> Result<(), Error> {
        let rule = "expected a duration like \"30m\", \"90s\" or \"2h\"";
        let sleep_after = SleepAfter::parse(duration).ok_or_else(|| invalid("sleepAfter", rule))?;
        self.change(OptionsRequest {
            sleep_after: Some(sleep_after),
            ..OptionsRequest::default()
        })
        .await
    }

    async fn change(&self, options: OptionsRequest) -> Result<(), Error> {
        self.ready().await?;
        self.set_options(&options).await.map(|_| ())
    }

    /// What the sandbox is doing. Starts nothing.
    pub async fn state(&self) -> Result<Sandbox, Error> {
        self.ready().await?.get("").await
    }

    /// Writes a file of the workspace: `path` is absolute, below `/workspace`. Makes its folders.
    pub async fn write_file(&self, path: &str, content: Vec<u8>) -> Result<(), Error> {
        let calls = self.ready().await?;
        calls
            .upload(Method::Put, &calls::file_path(path)?, content)
            .await
    }

    /// Reads a file of the workspace.
    pub async fn read_file(&self, path: &str) -> Result<Vec<u8>, Error> {
        self.ready().await?.download(&calls::file_path(path)?).await
    }

    /// Ends every process and destroys the container. Idempotent; a later call starts a new one.
    pub async fn destroy(&self) -> Result<Receipt, Error> {
        self.calls.destroy().await
    }
}
