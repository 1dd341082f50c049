//! `PATCH`: a sandbox's options, and what a change of them does to the container that runs.

use std::rc::Rc;

use sandbox_protocol::sandbox::OptionsRequest;

use crate::error::{Result, internal};
use crate::lifecycle::lease;
use crate::platform::now;
use crate::sandbox::Core;

/// Stores what `request` sets, and applies it to the life that runs.
pub(crate) async fn set(core: &Rc<Core>, request: OptionsRequest) -> Result<()> {
    request.validate()?;
    let mut options = core.records.options()?;
    if let Some(sleep_after) = request.sleep_after {
        options.sleep_after_ms = sleep_after.0;
    }
    if let Some(enable) = request.enable_internet {
        options.enable_internet = enable;
    }
    if let Some(keep_alive) = request.keep_alive {
        options.keep_alive = keep_alive;
    }
    let env_changes = !request.env.is_empty();
    options.env.extend(request.env);
    core.records.set_options(&options)?;
    let Some(running) = core.running_life().await? else {
        return core.announce();
    };
    // It may have gone on meanwhile.
    let current = core.records.life()?;
    let Some(mut life) = current
        .filter(|life| (life.generation, life.status) == (running.generation, running.status))
    else {
        return core.announce();
    };
    if request.keep_alive.is_some() {
        life.lease_until = lease(
            options.keep_alive,
            now(),
            core.settings()?.max_keep_alive_ms,
        );
        core.records.set_life(&life)?;
        let detail = life
            .lease_until
            .map_or("ended".to_owned(), |until| format!("until {until}"));
        core.event(life.generation, "lease", Some(detail))?;
    }
    if env_changes {
        let set = core.client(&life)?.set_environment(&options.env).await;
        set.map_err(|failure| {
            internal("the environment could not be set", format!("{failure:?}"))
        })?;
    }
    // The new options may end the sandbox sooner than the alarm would look.
    let armed = core.arm(1000).await;
    armed.map_err(|error| internal("the alarm could not be set", error))
}
