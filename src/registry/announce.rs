//! The sandbox's side: says what has changed since it last said something.

use std::rc::Rc;

use sandbox_protocol::sandbox::SandboxStatus;
use worker::{Method, Request, RequestInit};

use super::{Announcement, Note, Presence, shard, shard_name};
use crate::error::{Result, internal};
use crate::lifecycle::TICK_MS;
use crate::platform::{now, within};
use crate::sandbox::Core;

/// How long a shard may take, in milliseconds; after that the next look tries again.
const LIMIT_MS: u64 = 10_000;

impl Core {
    /// Announces the sandbox if what it announced last is no longer so. Nobody waits for it; the alarm tries again.
    pub(crate) fn announce(self: &Rc<Self>) -> Result<()> {
        if self.news()?.is_none() {
            return Ok(());
        }
        let core = Rc::clone(self);
        self.state.wait_until(async move {
            if let Err(error) = core.announce_now().await {
                worker::console_warn!("it will be announced again: {error}");
                if let Err(error) = core.arm_if_at_rest().await {
                    worker::console_error!("at the next request, that is: {error}");
                }
            }
        });
        Ok(())
    }

    /// The same for who waits for it.
    pub(crate) async fn announce_now(&self) -> Result<()> {
        let Some(said) = self.news()? else {
            return Ok(());
        };
        let told = within(LIMIT_MS, self.tell(&said)).await;
        told.unwrap_or_else(|| Err("no answer in 10 s".into()))
            .map_err(|error| internal("the sandbox could not be announced", error))?;
        self.records.set_announced(&said)
    }

    /// What is awake has an alarm; what sleeps gets one for the announcement alone.
    async fn arm_if_at_rest(&self) -> worker::Result<()> {
        match self.state.storage().get_alarm().await? {
            None => self.arm(TICK_MS).await,
            Some(_) => Ok(()),
        }
    }

    fn news(&self) -> Result<Option<Announcement>> {
        if self.registry.is_none() {
            return Ok(None);
        }
        let said = self.announcement()?;
        let told = self.records.announced()?;
        Ok(said.is_news(told.as_ref()).then_some(said))
    }

    /// What there is to say now.
    fn announcement(&self) -> Result<Announcement> {
        let mut sandbox = self.on_record()?;
        let presence =
            if sandbox.status != SandboxStatus::Stopped || self.records.live_build()?.is_some() {
                // One on its way down is soon announced as asleep, and what it does meanwhile is asked of it.
                if sandbox.status == SandboxStatus::Stopping {
                    sandbox.status = SandboxStatus::Running;
                }
                sandbox.last_activity_at = None;
                Presence::Awake
            } else if self.records.remember_something()? {
                Presence::Asleep
            } else {
                Presence::Forgotten
            };
        Ok(Announcement { presence, sandbox })
    }

    async fn tell(&self, said: &Announcement) -> worker::Result<()> {
        let Some(registry) = &self.registry else {
            return Ok(());
        };
        let note = serde_json::to_string(&Note {
            said: said.clone(),
            at: now(),
        })?;
        let mut init = RequestInit::new();
        init.with_method(Method::Put).with_body(Some(note.into()));
        let request = Request::new_with_init("http://registry/", &init)?;
        let shard = registry.get_by_name(&shard_name(shard(&self.id)))?;
        match shard.fetch_with_request(request).await?.status_code() {
            200..300 => Ok(()),
            status => Err(format!("the registry answered {status}").into()),
        }
    }
}
