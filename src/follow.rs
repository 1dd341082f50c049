//! Streams of a build: fed natively from the container while it is there, from the records afterwards,
//! and ended by the closing event, which is sent only after the destroy.

use std::rc::Rc;

use sandbox_protocol::build::Build;
use sandbox_protocol::log::{Format, LogEvent, LogRequest};
use sandbox_protocol::sse::HEARTBEAT;

use crate::client::Failure;
use crate::guard::closing_cursor;
use crate::kept_log::{Broken, KeptLog};
use crate::live::{Feeding, Live};
use crate::log_page::write_event;
use crate::platform::{Refused, Sink, within};
use crate::sandbox::Core;

/// One client's stream of a build.
pub(crate) struct Follow {
    pub(crate) core: Rc<Core>,
    pub(crate) build: String,
    pub(crate) request: LogRequest,
    pub(crate) sink: Sink,
    /// The seat of the client whose going away counts, if this is that client.
    pub(crate) seat: Option<u64>,
    /// The build's task, while one of this isolate tends it.
    pub(crate) live: Option<Rc<Live>>,
    /// Held from the beginning, so that the container stays until this client has read the log.
    pub(crate) feeding: Option<Feeding>,
}

/// How a feed from the container ended.
enum Fed {
    /// The process has ended, and its log was fed to the end.
    ToTheEnd,
    /// The client hung up.
    ClientGone,
    /// Our side broke off.
    Cut,
    /// The container could not be asked; nothing was written.
    Unavailable,
}

impl Follow {
    /// Feeds the client until the build has ended, or until either side is gone.
    pub(crate) async fn run(mut self) {
        let live = self.live.take();
        let outcome = match &live {
            Some(live) => self.follow_live(live).await,
            None => self.replay().await,
        };
        match outcome {
            Ok(()) => {}
            Err(Broken::Refused) => {
                if let Some(live) = &live {
                    live.left(self.seat);
                }
            }
            Err(Broken::Failed(error)) => {
                self.sink.abort(&error.error);
                if let Some(live) = &live {
                    live.cut(self.seat);
                }
            }
        }
    }

    async fn follow_live(&mut self, live: &Rc<Live>) -> Result<(), Broken> {
        let started = self.wait_with_heartbeats(live.started.clone()).await?;
        if started.is_err() {
            self.wait_with_heartbeats(live.ended.clone()).await?;
            return self.replay().await;
        }
        let fed = self.feed().await;
        drop(self.feeding.take());
        match fed {
            Fed::ToTheEnd => {
                let (build, _) = self.wait_with_heartbeats(live.ended.clone()).await?;
                self.close(&build).await
            }
            Fed::ClientGone => Err(Broken::Refused),
            Fed::Cut => {
                // It may have stopped in mid-frame: nothing can be appended, the client comes back.
                self.sink
                    .abort("the stream was cut; reconnect with the last id");
                live.cut(self.seat);
                Ok(())
            }
            Fed::Unavailable => {
                self.wait_with_heartbeats(live.ended.clone()).await?;
                self.replay().await
            }
        }
    }

    /// Has the platform move the log from the container to the client. What the end of that means is
    /// never inferred from the streams: the supervisor is asked, then the client is tried.
    async fn feed(&self) -> Fed {
        let Ok(Some(present)) = self.core.running_life().await else {
            return Fed::Unavailable;
        };
        let Ok(client) = self.core.client(&present) else {
            return Fed::Unavailable;
        };
        let mut answer = match client.follow(&self.build, &self.request).await {
            Ok(answer) => answer,
            Err(Failure::Silent(_) | Failure::Refused(_)) => return Fed::Unavailable,
        };
        // 204: the client has seen the exit already, and waits for the closing event.
        if answer.status_code() != 204 {
            let Ok(body) = native_body(&mut answer) else {
                return Fed::Unavailable;
            };
            // An error here does not say whose it is.
            let _ = self.sink.pipe(body).await;
        }
        let process = client.process(&self.build).await;
        if process.is_ok_and(|process| process.status.is_final()) {
            return Fed::ToTheEnd;
        }
        match self.sink.write(self.heartbeat()).await {
            Ok(()) => Fed::Cut,
            Err(Refused) => Fed::ClientGone,
        }
    }

    /// Writes the log of a build that has ended, from the records.
    async fn replay(&self) -> Result<(), Broken> {
        let Some(row) = self.core.records.build(&self.build)? else {
            return Ok(());
        };
        let log = KeptLog::open(&self.core.records, &row)?;
        let position = log.begin(&self.request).await?;
        if self.request.format == Format::Json {
            let mut end = closing_cursor(&row);
            end.position.marks -= 1;
            log.write_json(&self.request, position, &end, &self.sink)
                .await?;
        } else {
            log.write(&self.request, position, &self.sink).await?;
        }
        if self.request.follow {
            return self.close(&row.record).await;
        }
        Ok(self.sink.close().await?)
    }

    /// Writes the closing event and ends the stream.
    async fn close(&self, build: &Build) -> Result<(), Broken> {
        let row = self.core.records.build(&self.build)?;
        if let (Some(event), Some(row)) = (build.closing_event(), row) {
            let mut out = Vec::new();
            let event = LogEvent::Build(event);
            write_event(&mut out, self.request.format, &event, &closing_cursor(&row));
            self.sink.write(&out).await?;
        }
        Ok(self.sink.close().await?)
    }

    /// Waits for `event`; meanwhile a comment now and then finds out whether the client is there.
    async fn wait_with_heartbeats<T>(
        &self,
        event: impl Future<Output = T> + Unpin,
    ) -> Result<T, Broken> {
        heartbeats_until(&self.core, &self.sink, self.heartbeat(), event)
            .await
            .map_err(Broken::from)
    }

    /// What no reader of this form takes for output. Plain text has no such thing: nothing is written.
    fn heartbeat(&self) -> &'static [u8] {
        match self.request.format {
            Format::EventStream => HEARTBEAT,
            Format::Ndjson | Format::Json => b"\n",
            Format::Plain => b"",
        }
    }
}

/// Waits for `event`, writing `heartbeat` to `sink` now and then.
pub(crate) async fn heartbeats_until<T>(
    core: &Core,
    sink: &Sink,
    heartbeat: &[u8],
    mut event: impl Future<Output = T> + Unpin,
) -> Result<T, Refused> {
    let every = core
        .settings()
        .map_or(10_000, |settings| settings.heartbeat_ms);
    loop {
        if let Some(value) = within(every, &mut event).await {
            return Ok(value);
        }
        sink.write(heartbeat).await?;
    }
}

/// The body of an answer, as the platform's own stream.
pub(crate) fn native_body(
    answer: &mut worker::Response,
) -> worker::Result<worker::web_sys::ReadableStream> {
    match answer.body() {
        worker::ResponseBody::Stream(stream) => Ok(stream.clone()),
        _ => Err("the answer has no body".into()),
    }
}
