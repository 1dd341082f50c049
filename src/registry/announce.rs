//! The sandbox's side: says what has changed since it last said something.

use std::rc::Rc;

use sandbox_protocol::sandbox::SandboxStatus;
use worker::{Method, Request, RequestInit};

use super::{Announcement, Presence, shard, shard_name};
use crate::error::{Result, internal};
use crate::platform::{now, within};
use crate::sandbox::Core;

/// How long a shard may take, in milliseconds; after that the next look tries again.
const LIMIT_MS: u64 = 10_000;

impl Core {
    /// Announces the sandbox if what it announced last is no longer so. Nobody waits for it.
    pub(crate) fn announce(self: &Rc<Self>) -> Result<()> {
        let presence = self.presence()?;
        let known = self.records.announced()?;
        let news = known != Some(presence) && (known.is_some() || presence != Presence::Forgotten);
        if !news || self.registry.is_none() {
            return Ok(());
        }
        let core = Rc::clone(self);
        self.state.wait_until(async move {
            let told = within(LIMIT_MS, core.tell(presence)).await;
            let told = told.unwrap_or_else(|| Err("no answer in 10 s".into()));
            let noted = match told {
                Ok(()) => core.records.set_announced(presence),
                Err(error) => Err(internal("the sandbox could not be announced", error)),
            };
            if let Err(error) = noted {
                worker::console_warn!("it will be tried again: {error}");
            }
        });
        Ok(())
    }

    fn presence(&self) -> Result<Presence> {
        let life = self.records.life()?;
        let stopped = life.is_none_or(|life| life.status == SandboxStatus::Stopped);
        Ok(if !stopped || self.records.live_build()?.is_some() {
            Presence::Awake
        } else if self.records.remember_something()? {
            Presence::Asleep
        } else {
            Presence::Forgotten
        })
    }

    async fn tell(&self, presence: Presence) -> worker::Result<()> {
        let Some(registry) = &self.registry else {
            return Ok(());
        };
        let said = serde_json::to_string(&Announcement {
            id: self.id.clone(),
            presence,
            at: now(),
        })?;
        let mut init = RequestInit::new();
        init.with_method(Method::Put).with_body(Some(said.into()));
        let request = Request::new_with_init("http://registry/", &init)?;
        let shard = registry.get_by_name(&shard_name(shard(&self.id)))?;
        match shard.fetch_with_request(request).await?.status_code() {
            200..300 => Ok(()),
            status => Err(format!("the registry answered {status}").into()),
        }
    }
}
