//! How long things may take at most, and take by default.

use crate::error::ErrorBody;
use crate::request::invalid;

/// The largest `timeoutMs`, `graceMs` or `backoffMs`: 30 days.
pub const MAX_DURATION_MS: u64 = 30 * 24 * 3_600_000;

/// How long a start waits for `ready`, and a wait for its condition, when the caller does not say.
pub const DEFAULT_WAIT_MS: u64 = 60_000;

/// Refuses durations beyond [`MAX_DURATION_MS`].
pub fn check_duration(field: &str, ms: u64) -> Result<(), ErrorBody> {
    if ms > MAX_DURATION_MS {
        return Err(invalid(field, "at most 30 days, in milliseconds"));
    }
    Ok(())
}
