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

mod again;
mod builds;
mod calls;
mod checks;
mod content;
mod error;
mod files;
mod lines;
mod options;
mod ports;
mod process;
mod processes;
mod scope;
mod scope_error;
mod signal;
mod stream;

use std::cell::RefCell;
use std::rc::Rc;

use sandbox_protocol::id::{SANDBOX_ID_RULE, SandboxId};
use sandbox_protocol::limit::LimitList;
use sandbox_protocol::request::invalid;
use sandbox_protocol::sandbox::{EventList, KeepAliveRequest, OptionsRequest, SleepAfter};
use worker::{Env, Method};

use calls::Calls;

pub use checks::{LogPattern, PortCheck};
pub use content::Content;
pub use error::Error;
pub use options::{BuildOptions, ExecOptions, ProcessOptions, SandboxOptions};
pub use process::{Exit, LogMatch, Process};
pub use scope_error::ScopeError;
pub use signal::Signal;
pub use stream::Events;

/// The types of the wire format, for what the records and errors here are made of.
pub use sandbox_protocol as protocol;
pub use sandbox_protocol::build::{Build, BuildEvent, BuildReason, BuildStatus};
pub use sandbox_protocol::error::{ErrorBody, ErrorCode, ErrorContext};
pub use sandbox_protocol::exec::ExecResult;
pub use sandbox_protocol::file::{Entry as FileEntry, EntryKind as FileKind};
pub use sandbox_protocol::limit::Limit;
pub use sandbox_protocol::log::{LogEvent, Logs, Output, Selection, Stream};
pub use sandbox_protocol::process::{
    ExitReason, KillReceipt, Process as ProcessInfo, ProcessStatus, Restart, RestartPolicy, Stats,
};
pub use sandbox_protocol::sandbox::{
    Event as LifecycleEvent, Receipt, Sandbox as SandboxState, SandboxStatus,
};

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

    async fn set_options(&self, options: &OptionsRequest) -> Result<SandboxState, Error> {
        self.calls.json(Method::Patch, "", Some(options)).await
    }

    async fn change(&self, options: OptionsRequest) -> Result<(), Error> {
        self.ready().await?;
        self.set_options(&options).await.map(|_| ())
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
    ///
    /// ```no_run
    /// # async fn example(sandbox: workers_sandbox::SandboxHandle) -> Result<(), workers_sandbox::Error> {
    /// sandbox.set_keep_alive(true).await?;
    /// sandbox.set_sleep_after("30m").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn set_sleep_after(&self, duration: &str) -> Result<(), Error> {
        let rule = "expected a duration like \"30m\", \"90s\" or \"2h\"";
        let sleep_after = SleepAfter::parse(duration).ok_or_else(|| invalid("sleepAfter", rule))?;
        self.change(OptionsRequest {
            sleep_after: Some(sleep_after),
            ..OptionsRequest::default()
        })
        .await
    }

    /// What the sandbox is doing. Starts nothing.
    pub async fn state(&self) -> Result<SandboxState, Error> {
        self.ready().await?.get("").await
    }

    /// What happened to the sandbox, when and why, newest last. Starts nothing.
    pub async fn events(&self) -> Result<Vec<LifecycleEvent>, Error> {
        let list: EventList = self.ready().await?.get("/events").await?;
        Ok(list.events)
    }

    /// Every limit in force, and how it holds. `SANDBOX_NOT_RUNNING` while there is no container.
    pub async fn limits(&self) -> Result<Vec<Limit>, Error> {
        let list: LimitList = self.ready().await?.get("/limits").await?;
        Ok(list.limits)
    }

    /// Ends every process and destroys the container; what became of each is in the receipt. Idempotent; a later call
    /// starts a new one. [`scoped`](Self::scoped) does so by itself.
    pub async fn destroy(&self) -> Result<Receipt, Error> {
        self.calls.destroy().await
    }
}
