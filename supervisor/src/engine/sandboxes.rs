//! All sandboxes of the engine, by id; what happens to one of them happens one thing at a time.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sandbox_protocol::error::{ErrorBody, ErrorCode};
use sandbox_protocol::id::SandboxId;
use tokio::net::UnixStream;
use tokio::sync::{Mutex as Turn, OwnedMutexGuard};
use tokio::task::JoinSet;

use super::sandbox::{Sandbox, try_namespaces};
use crate::config::{EngineConfig, Token};
use crate::error::Error;

/// The place of one id; empty while nothing runs under it.
type Place = Arc<Turn<Option<Arc<Sandbox>>>>;

/// A place while it is somebody's turn at it.
type Occupant = OwnedMutexGuard<Option<Arc<Sandbox>>>;

/// The sandboxes. A cheap clone.
#[derive(Clone)]
pub(super) struct Sandboxes {
    config: Arc<EngineConfig>,
    namespaces: bool,
    /// `None` once the engine ends.
    places: Arc<Mutex<Option<HashMap<SandboxId, Place>>>>,
}

impl fmt::Debug for Sandboxes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sandboxes").finish_non_exhaustive()
    }
}

impl Sandboxes {
    /// No sandbox yet. Tries whether the kernel has namespaces for us, and says so if it has not.
    pub(super) async fn new(config: EngineConfig) -> io::Result<Self> {
        let trial = config.state_dir.join(".trial");
        let tried = tokio::task::spawn_blocking(move || try_namespaces(&trial)).await?;
        if let Err(error) = &tried {
            eprintln!(
                "engine: the kernel refuses namespaces ({error}): sandboxes share this machine's folders, \
                 and a path under /workspace is refused as a working directory"
            );
        }
        Ok(Self {
            config: Arc::new(config),
            namespaces: tried.is_ok(),
            places: Arc::new(Mutex::new(Some(HashMap::new()))),
        })
    }

    /// Starts the sandbox `id` and waits until its supervisor listens. It comes up, or not, even if the caller
    /// leaves meanwhile.
    pub(super) async fn start(
        &self,
        id: SandboxId,
        token: Token,
        variables: BTreeMap<String, String>,
    ) -> Result<(), Error> {
        let place = self.place(&id)?;
        let folder = self.config.state_dir.join(id.as_str());
        let mut environment = self.config.environment.clone();
        environment.extend(variables);
        let namespaces = self.namespaces;
        in_turn(place, move |mut occupant| async move {
            if occupant
                .as_ref()
                .is_some_and(|sandbox| sandbox.is_running())
            {
                let error = format!("the sandbox {id} runs already");
                return Err(ErrorBody::new(ErrorCode::ProcessAlreadyExists, error).into());
            }
            let token = token.as_str().to_owned();
            match Sandbox::start(folder, token, environment, namespaces).await {
                Ok(sandbox) => *occupant = Some(Arc::new(sandbox)),
                Err(error) => {
                    eprintln!("engine: sandbox {id}: {error}");
                    let error =
                        format!("the sandbox {id} did not come up; the engine's log says why");
                    return Err(ErrorBody::new(ErrorCode::ContainerUnavailable, error).into());
                }
            }
            Ok(())
        })
        .await
    }

    /// Whether the sandbox `id` runs.
    pub(super) async fn is_running(&self, id: &SandboxId) -> Result<bool, Error> {
        let sandbox = self.find(id).await?;
        Ok(sandbox.is_some_and(|sandbox| sandbox.is_running()))
    }

    /// A connection to the supervisor of the sandbox `id`; 502 where there is none.
    pub(super) async fn connect(&self, id: &SandboxId) -> Result<UnixStream, Error> {
        let not_listening = || ErrorBody::new(ErrorCode::ServiceNotResponding, "not listening");
        let sandbox = self.find(id).await?.ok_or_else(not_listening)?;
        sandbox.connect().await.map_err(|_| not_listening().into())
    }

    /// Kills the sandbox `id` and waits until it is gone, with its folder. It is killed even if the caller
    /// leaves meanwhile.
    pub(super) async fn destroy(&self, id: SandboxId) -> Result<(), Error> {
        let place = self.place(&id)?;
        let sandboxes = self.clone();
        in_turn(place.clone(), move |mut occupant| async move {
            if let Some(sandbox) = occupant.take() {
                sandbox.destroy().await;
            }
            sandboxes.forget(&id, &place);
            Ok(())
        })
        .await
    }

    /// Destroys every sandbox, all at once, and lets no other start.
    pub(super) async fn destroy_all(&self) {
        let places = self.lock().take().unwrap_or_default();
        let mut ends = JoinSet::new();
        for place in places.into_values() {
            ends.spawn(async move {
                if let Some(sandbox) = place.lock_owned().await.take() {
                    sandbox.destroy().await;
                }
            });
        }
        ends.join_all().await;
    }

    async fn find(&self, id: &SandboxId) -> Result<Option<Arc<Sandbox>>, Error> {
        let place = match self.lock().as_ref() {
            Some(places) => places.get(id).cloned(),
            None => return Err(ending()),
        };
        match place {
            Some(place) => Ok(place.lock_owned().await.clone()),
            None => Ok(None),
        }
    }

    fn place(&self, id: &SandboxId) -> Result<Place, Error> {
        match self.lock().as_mut() {
            Some(places) => Ok(places.entry(id.clone()).or_default().clone()),
            None => Err(ending()),
        }
    }

    /// Takes the place of `id` away if nobody waits for a turn at it: the map has one handle, the turn that
    /// calls this one, and `place` is the third.
    fn forget(&self, id: &SandboxId, place: &Place) {
        let mut places = self.lock();
        if let Some(places) = places.as_mut()
            && Arc::strong_count(place) == 3
        {
            places.remove(id);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<HashMap<SandboxId, Place>>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Does `work` when it is its turn at `place`, to its end, whether or not the caller stays.
async fn in_turn<F>(
    place: Place,
    work: impl FnOnce(Occupant) -> F + Send + 'static,
) -> Result<(), Error>
where
    F: Future<Output = Result<(), Error>> + Send,
{
    let turn = tokio::spawn(async move { work(place.lock_owned().await).await });
    turn.await.map_err(Error::internal("a turn at a sandbox"))?
}

fn ending() -> Error {
    ErrorBody::new(ErrorCode::ContainerUnavailable, "the engine is ending").into()
}
