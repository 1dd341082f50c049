//! The finally: a sandbox that ends with the work it was for.

use std::pin::pin;
use std::rc::Rc;

use futures::TryStreamExt;
use futures::future::{Either, select};
use sandbox_protocol::sandbox::ScopeEvent;
use worker::{ByteStream, Headers, Method};

use super::again::{LIMIT_MS, Patience, insist};
use super::calls::Calls;
use super::{Error, SandboxHandle, ScopeError};
use crate::platform::within;

/// How long the end of the work waits for a stream that is just being taken up again, in milliseconds.
const LAST_TRY_MS: u64 = 10_000;

impl SandboxHandle {
    /// Does `work`, and destroys the sandbox whatever comes of it: the `try` and `finally` of this library. The
    /// sandbox is started first, if it is not running.
    ///
    /// On `Ok` and on `Err` the sandbox is destroyed when this returns. When nobody is left to destroy it (the client
    /// of the Worker hung up, this future was dropped, the work panicked, the isolate died), the sandbox's object
    /// notices, and destroys it 30 s later. It is destroyed once in either case. The object may be replaced meanwhile,
    /// by a deployment for one: the guard is taken up again, and the work goes on.
    ///
    /// The platform may notice that a client has hung up only when something is written to it. Work that nobody waits
    /// for is then done to its end, and the sandbox destroyed after it; an answer that is streamed ends it sooner.
    ///
    /// A sandbox in a scope still goes to sleep when nothing happens in it for `sleepAfter`; work that pauses for
    /// longer asks for [`keep_alive`](super::SandboxOptions::keep_alive).
    ///
    /// ```no_run
    /// use futures::TryStreamExt;
    /// use workers_sandbox::{Error, LogEvent, ProcessOptions, SandboxHandle};
    ///
    /// # async fn example(sandbox: SandboxHandle) -> Result<String, Error> {
    /// let line = sandbox
    ///     .scoped(async |sandbox| {
    ///         let build = sandbox
    ///             .start_process("npm run build:production", ProcessOptions::new())
    ///             .await?;
    ///         Ok(build.wait_for_log("Build complete").await?.line)
    ///     })
    ///     .await?;
    /// # Ok(line)
    /// # }
    /// ```
    ///
    /// What the work must give back besides an [`Error`] goes into its value: `Ok(Err(mine))` is destroyed too.
    pub async fn scoped<T>(
        &self,
        work: impl AsyncFnOnce(SandboxHandle) -> Result<T, Error>,
    ) -> Result<T, ScopeError<T>> {
        let calls = self.ready().await.map_err(ScopeError::NotOpened)?;
        let mut scope = Scope::open(calls).await.map_err(ScopeError::NotOpened)?;
        let done = scope.hold_during(work(self.clone())).await;
        match (done, scope.end().await) {
            (Ok(value), Ok(())) => Ok(value),
            (Err(work), Ok(())) => Err(ScopeError::Work(work)),
            (Ok(value), Err(destroy)) => Err(ScopeError::Undestroyed { value, destroy }),
            (Err(work), Err(destroy)) => Err(ScopeError::Both { work, destroy }),
        }
    }
}

/// A scope that this isolate holds, by reading its stream. Dropping it leaves the rest to the object.
struct Scope {
    calls: Rc<Calls>,
    id: String,
    chunks: ByteStream,
}

impl Scope {
    async fn open(calls: &Rc<Calls>) -> Result<Self, Error> {
        let answer = calls.send(Method::Post, "/scope", Headers::new(), None);
        let mut chunks = answer.await?.stream()?;
        let mut text = Vec::new();
        while let Some(chunk) = chunks.try_next().await? {
            text.extend(chunk);
            if let Some(event) = first_event(&text)? {
                return Ok(Self {
                    calls: Rc::clone(calls),
                    id: event.scope_id,
                    chunks,
                });
            }
        }
        Err(unexpected(
            "the stream ended before its first event".to_owned(),
        ))
    }

    /// Does `work` and holds the scope until it is done.
    async fn hold_during<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            match select(work.as_mut(), pin!(self.is_cut())).await {
                Either::Left((done, _)) => return done,
                Either::Right(((), _)) => {}
            }
            let reopened = pin!(self.reopen());
            match select(work.as_mut(), reopened).await {
                // A request that is under way may open a scope that nobody would close.
                Either::Left((done, reopened)) => {
                    within(LAST_TRY_MS, reopened).await;
                    return done;
                }
                Either::Right(((), _)) => {}
            }
        }
    }

    /// Reads heartbeats until none come any more.
    async fn is_cut(&mut self) {
        while let Some(Ok(Some(_))) = within(LIMIT_MS, self.chunks.try_next()).await {}
    }

    /// Opens another scope in place of this one, however long that takes. The old one is closed only then; left
    /// alone it would destroy the sandbox.
    async fn reopen(&mut self) {
        let mut patience = Patience::new();
        let next = loop {
            match Self::open(&self.calls).await {
                Ok(next) => break next,
                Err(error) => {
                    worker::console_warn!("the scope {} is not held: {error}", self.id);
                    if !patience.pause().await {
                        patience = Patience::new();
                    }
                }
            }
        };
        let old = std::mem::replace(self, next);
        if let Err(error) = old.close().await {
            worker::console_error!("the scope {} will destroy its sandbox: {error}", old.id);
        }
    }

    /// Destroys the sandbox, then closes the scope: if this is cut in between, the object finishes it.
    async fn end(self) -> Result<(), Error> {
        insist(async || self.calls.destroy().await).await?;
        self.close().await
    }

    async fn close(&self) -> Result<(), Error> {
        let path = format!("/scope/{}", self.id);
        let close = async || {
            let closed = self.calls.send(Method::Delete, &path, Headers::new(), None);
            closed.await.map(|_| ())
        };
        insist(close).await
    }
}

/// The first event of an event stream, once it has come whole.
fn first_event(text: &[u8]) -> Result<Option<ScopeEvent>, Error> {
    let Some(end) = text.windows(2).position(|bytes| bytes == b"\n\n") else {
        return Ok(None);
    };
    let event = text[..end].strip_prefix(b"data: ").unwrap_or(&text[..end]);
    let read = serde_json::from_slice(event);
    read.map(Some).map_err(|error| {
        unexpected(format!(
            "{error}: {}",
            String::from_utf8_lossy(&text[..end])
        ))
    })
}

fn unexpected(detail: String) -> Error {
    Error::Unexpected {
        status: 200,
        detail,
    }
}

#[cfg(test)]
mod tests {
    use sandbox_protocol::sandbox::ScopeEvent;
    use sandbox_protocol::time::Timestamp;

    use super::first_event;

    #[test]
    fn the_first_event_is_read_when_it_is_whole() {
        let event = ScopeEvent::new("abc", Timestamp(0));
        let text = format!(
            "data: {}\n\n: hb\n\n",
            serde_json::to_string(&event).unwrap()
        );
        let end = text.find("\n\n").unwrap() + 2;
        assert_eq!(first_event(&text.as_bytes()[..end - 1]).unwrap(), None);
        assert_eq!(first_event(text.as_bytes()).unwrap(), Some(event));
        assert!(first_event(b"nonsense\n\n").is_err());
    }
}
