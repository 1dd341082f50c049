//! The object's ways in: a request, and its alarm.

use std::rc::Rc;

use worker::{DurableObject, Env, Request, Response, State, durable_object};

use crate::lifecycle::BUILD_TICK_MS;
use crate::sandbox::Core;
use crate::{body, calls};

/// The Durable Object class of wrangler.toml.
#[durable_object(alarm)]
pub struct Sandbox {
    core: Rc<Core>,
}

impl DurableObject for Sandbox {
    fn new(state: State, env: Env) -> Self {
        Self {
            core: Rc::new(Core::of(state, &env)),
        }
    }

    async fn fetch(&self, request: Request) -> worker::Result<Response> {
        let body = request.inner().body();
        let answered = match self.core.resume().await {
            Ok(()) => calls::answer(&self.core, request).await,
            Err(error) => Err(error),
        };
        body::settle(answered, body).await
    }

    async fn alarm(&self) -> worker::Result<Response> {
        // First what makes the next tick certain, then what may fail.
        self.core.arm(BUILD_TICK_MS).await?;
        self.core
            .tick()
            .await
            .map_err(|error| worker::Error::from(error.to_string()))?;
        Response::empty()
    }
}
