//! Places among the followers, of which there are so many and no more.

use std::sync::atomic::{AtomicU64, Ordering};

use sandbox_protocol::error::{ErrorBody, ErrorCode};

use super::Ledger;
use crate::error::Error;

/// Followers of one ledger at the same time.
pub const MAX_FOLLOWERS: u64 = 256;

/// A place among the followers.
#[derive(Debug)]
pub struct Follower {
    ledger: Ledger,
    /// Whether the store counts it too.
    counted: bool,
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.ledger.0.followers.fetch_sub(1, Ordering::Relaxed);
        if self.counted {
            self.ledger.0.store.remove_follower();
        }
    }
}

impl Ledger {
    /// Takes a place among the followers, given back when it is dropped. `TOO_MANY_SUBSCRIBERS` if there is
    /// none left, in the store or in this ledger.
    pub fn follower(&self) -> Result<Follower, Error> {
        take_place(&self.0.followers, MAX_FOLLOWERS, "processSubscribers")?;
        let mut follower = Follower {
            ledger: self.clone(),
            counted: false,
        };
        self.0.store.add_follower()?;
        follower.counted = true;
        Ok(follower)
    }
}

/// Raises `taken` by one unless it is at `limit` already.
pub(super) fn take_place(taken: &AtomicU64, limit: u64, name: &str) -> Result<(), ErrorBody> {
    let raise = |now: u64| (now < limit).then_some(now + 1);
    match taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, raise) {
        Ok(_) => Ok(()),
        Err(_) => Err(ErrorBody::new(
            ErrorCode::TooManySubscribers,
            format!("{limit} followers are the limit"),
        )
        .with(|context| {
            context.limit = Some(name.to_owned());
            context.limit_value = Some(limit);
        })),
    }
}
