//! Tickets: what a browser shows where it cannot send a header.

use std::rc::Rc;

use sandbox_protocol::error::{ErrorBody, ErrorCode};
use sandbox_protocol::ticket::Ticket;
use worker::Request;

use crate::error::Result;
use crate::platform::{now, random_name};
use crate::router::Call;
use crate::sandbox::Core;

/// The header in which the Worker hands a ticket to the object, taken off the URL so that it is never
/// logged. A request without it was let in by the key.
pub(crate) const HEADER: &str = "Sandbox-Ticket";

/// How long a ticket may wait for its first use, in milliseconds.
const UNUSED_MS: u64 = 60_000;

/// Whether `text` could be a ticket. What could not stands in for no key; it might not even fit into a header.
#[cfg(feature = "entry")]
pub(crate) fn is_one(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// Makes a ticket.
pub(crate) fn create(core: &Rc<Core>) -> Result<Ticket> {
    let ticket = random_name(32);
    let expires_at = now().plus_ms(UNUSED_MS);
    core.records.add_ticket(&ticket, expires_at, now())?;
    Ok(Ticket { ticket, expires_at })
}

/// Lets a request in that shows no ticket, or one that opens this very stream.
pub(crate) fn check(core: &Core, call: &Call, request: &Request) -> Result<()> {
    let Some(ticket) = request.headers().get(HEADER).ok().flatten() else {
        return Ok(());
    };
    if call.takes_ticket() && core.records.use_ticket(&ticket, &request.path(), now())? {
        return Ok(());
    }
    Err(ErrorBody::new(
        ErrorCode::Unauthorized,
        "the ticket is not valid for this stream, or no longer",
    )
    .suggest("ask for another with POST …/tickets"))
}

#[cfg(all(test, feature = "entry"))]
mod tests {
    use super::is_one;

    #[test]
    fn what_does_not_fit_into_a_header_is_no_ticket() {
        assert!(is_one("4jjxxpzu4aq2purpf6ygw2o7uwzj5tyk"));
        for bad in ["", "\n", "ý", "a b"] {
            assert!(!is_one(bad), "{bad:?}");
        }
    }
}
