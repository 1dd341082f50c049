//! Processes and one-time commands by the library.

use sandbox_protocol::exec::ExecResult;
use sandbox_protocol::log::Logs;
use sandbox_protocol::process::{KillAllReceipt, KillReceipt, ProcessList};
use worker::Method;

use super::calls::process_path;
use super::process::kill;
use super::{Error, Events, ExecOptions, Process, ProcessOptions, SandboxHandle, Signal};

impl SandboxHandle {
    /// Starts `command` by `bash -c` in the background.
    ///
    /// ```no_run
    /// use workers_sandbox::{Error, PortCheck, ProcessOptions, SandboxHandle};
    ///
    /// # async fn example(sandbox: &SandboxHandle) -> Result<(), Error> {
    /// let options = ProcessOptions::new().cwd("/workspace/api").env("PORT", "8080");
    /// let server = sandbox.start_process("node server.js", options).await?;
    /// server.wait_for_port(8080, PortCheck::http("/health")).await?;
    /// # Ok(())
    /// # }
    /// ```
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
        match calls.get(&process_path(id)?).await {
            Ok(process) => Ok(Some(Process::new(calls, process))),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The log of the process `id` as it is now.
    pub async fn get_process_logs(&self, id: &str) -> Result<Logs, Error> {
        let path = format!("{}/logs", process_path(id)?);
        self.ready().await?.get(&path).await
    }

    /// The log of the process `id` as it is printed, from its beginning to its exit. A stream that is cut
    /// goes on by itself where it was.
    pub async fn stream_process_logs(&self, id: &str) -> Result<Events, Error> {
        let path = format!("{}/logs", process_path(id)?);
        Events::open(self.ready().await?, path, None).await
    }

    /// The same from behind `cursor`, which an earlier stream ended with ([`Events::cursor`]).
    pub async fn stream_process_logs_after(&self, id: &str, cursor: &str) -> Result<Events, Error> {
        let path = format!("{}/logs", process_path(id)?);
        Events::open(self.ready().await?, path, Some(cursor)).await
    }

    /// Sends `signal` to the whole tree of the process `id`, and kills what is left after the signal's grace. The
    /// receipt says who got it and who had to be killed; killing what is gone already is no error.
    pub async fn kill_process(&self, id: &str, signal: Signal) -> Result<KillReceipt, Error> {
        let path = process_path(id)?;
        kill(self.ready().await?, &path, signal, None).await
    }

    /// Terminates every process, all at once; how many were running.
    pub async fn kill_all_processes(&self) -> Result<u32, Error> {
        let calls = self.ready().await?;
        let receipt: KillAllReceipt = calls
            .json(Method::Delete, "/processes", None::<&()>)
            .await?;
        Ok(receipt.killed)
    }

    /// Runs `command` by `bash -c` and collects what it prints. A command that fails is no error here: its exit code
    /// is in the result.
    ///
    /// ```no_run
    /// use workers_sandbox::{Error, ExecOptions, SandboxHandle};
    ///
    /// # async fn example(sandbox: &SandboxHandle) -> Result<(), Error> {
    /// let tests = sandbox.exec("npm test", ExecOptions::new().timeout_ms(60_000)).await?;
    /// if !tests.success {
    ///     worker::console_error!("exit {}: {}", tests.exit_code, tests.stderr);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn exec(&self, command: &str, options: ExecOptions) -> Result<ExecResult, Error> {
        let request = options.into_request(command);
        let calls = self.ready().await?;
        calls.json(Method::Post, "/exec", Some(&request)).await
    }
}
