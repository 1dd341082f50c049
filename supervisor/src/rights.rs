//! Threads that touch files with the rights of the sandbox's user.

use std::io;
use std::sync::Arc;
use std::thread;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::account::Account;
use crate::error::Error;

/// How many such threads there are at a time; more work than that waits its turn.
pub const MAX_THREADS: usize = 256;

/// Room for an archive reader's buffers, and little more.
const STACK_BYTES: usize = 512 << 10;

/// The rights to work with. A cheap clone.
///
/// The file system ids belong to a thread, so each piece of work has a thread of its own that ends with it:
/// the pool of the runtime must never see a thread that is somebody else.
#[derive(Clone, Debug)]
pub struct Rights {
    user: Option<(u32, u32)>,
    threads: Arc<Semaphore>,
}

impl Rights {
    /// The rights of `account`; without one, our own.
    #[must_use]
    pub fn of(account: Option<&Account>) -> Self {
        Self {
            user: account.map(|account| (account.uid, account.gid)),
            threads: Arc::new(Semaphore::new(MAX_THREADS)),
        }
    }

    /// Does `work` on a thread that has these rights and returns what it returned.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (done, result) = oneshot::channel();
        self.start(move |rights| {
            // Nobody waits for the result when the caller is gone.
            let _ = done.send(rights.and_then(|()| work()));
        })
        .await?;
        let gone = |_| io::Error::other("a thread with the sandbox's rights panicked");
        result
            .await
            .map_err(|error| Error::internal("file work")(gone(error)))?
    }

    /// Starts `work` on a thread of its own and returns at once. It is told whether it has the rights; without
    /// them it must do nothing but say so.
    pub(crate) async fn start(
        &self,
        work: impl FnOnce(Result<(), Error>) + Send + 'static,
    ) -> Result<(), Error> {
        let permit = self.threads.clone().acquire_owned().await;
        let permit: OwnedSemaphorePermit = permit.expect("the semaphore is never closed");
        let user = self.user;
        thread::Builder::new()
            .name("files".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || {
                work(take(user));
                drop(permit);
            })
            .map_err(Error::internal("start a thread"))?;
        Ok(())
    }
}

fn take(user: Option<(u32, u32)>) -> Result<(), Error> {
    let Some((uid, gid)) = user else {
        return Ok(());
    };
    become_user(uid, gid).map_err(Error::internal("take the sandbox user's rights"))
}

/// Makes the calling thread, and no other, `uid` and `gid` towards the file system, without further groups
/// and without root's power to override modes.
#[expect(unsafe_code, reason = "no safe wrapper sets a thread's own ids")]
fn become_user(uid: u32, gid: u32) -> io::Result<()> {
    // -1 is no id: setfsuid then changes nothing and returns the present one, the only way to ask.
    const ASK: u32 = u32::MAX;
    let group = [gid];
    // SAFETY: setgroups reads one gid_t from `group`, which lives. The raw call changes this thread alone,
    // where libc's would change all. setfsgid and setfsuid take no pointers.
    let (groups, uid_now, gid_now) = unsafe {
        let groups = libc::syscall(libc::SYS_setgroups, group.len(), group.as_ptr());
        libc::setfsgid(gid);
        libc::setfsuid(uid);
        (groups, libc::setfsuid(ASK), libc::setfsgid(ASK))
    };
    if groups != 0 || uid_now.cast_unsigned() != uid || gid_now.cast_unsigned() != gid {
        return Err(io::Error::from(io::ErrorKind::PermissionDenied));
    }
    Ok(())
}
