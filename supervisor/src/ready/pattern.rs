//! Looking for a line in a log, as it is printed.

use std::time::Duration;

use sandbox_protocol::error::ErrorBody;
use sandbox_protocol::log::From;
use sandbox_protocol::ready::{Met, Pattern};
use tokio::time::{Instant, timeout_at};

use super::search::Search;
use crate::error::Error;
use crate::logs::{Ledger, Step};

/// How long a line that matches, and has no end yet, is given to get one; so that what is answered is the
/// whole of it and not what one write happened to bring.
const LINE_END: Duration = Duration::from_millis(50);

/// Looks for `pattern` in what is in `ledger` and in what comes; `None` when the log ended without it.
/// `VALIDATION_FAILED` for an expression that cannot be compiled.
pub async fn find(ledger: &Ledger, pattern: &Pattern) -> Result<Option<Met>, Error> {
    let mut search = Search::new(pattern, "regex")?;
    let mut reader = ledger.reader(&From::Start, pattern.stream)?;
    let mut deadline = None;
    loop {
        // A long log must not keep the thread from its other tasks.
        tokio::task::consume_budget().await;
        match reader.step().await {
            Step::Gap(_) => search.forget(),
            Step::Entries(batch) => {
                if let Some(hit) = search.read(&batch) {
                    return Ok(Some(hit.met(ledger)));
                }
                deadline = match (search.unended(), deadline) {
                    (None, _) => None,
                    (Some(hit), Some(at)) if at <= Instant::now() => {
                        return Ok(Some(hit.met(ledger)));
                    }
                    (Some(_), Some(at)) => Some(at),
                    (Some(_), None) => Some(Instant::now() + LINE_END),
                };
            }
            Step::Ended => return Ok(search.unended().map(|hit| hit.met(ledger))),
            Step::Idle => match deadline {
                None => reader.more().await,
                Some(at) => {
                    if timeout_at(at, reader.more()).await.is_err()
                        && let Some(hit) = search.unended()
                    {
                        return Ok(Some(hit.met(ledger)));
                    }
                }
            },
        }
    }
}

/// Checks that `pattern` can be looked for. The error names `field`.
pub fn check(pattern: &Pattern, field: &str) -> Result<(), ErrorBody> {
    Search::new(pattern, field).map(drop)
}
