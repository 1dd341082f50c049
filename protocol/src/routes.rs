//! Names that two hops must agree on: headers, variables, the supervisor's own routes.

use serde::{Deserialize, Serialize};

use crate::error::{ErrorBody, ErrorCode};
use crate::time::Timestamp;

/// The port on which the supervisor listens in its container.
pub const SUPERVISOR_PORT: u16 = 9711;

/// The variable that carries the token into the container: the bearer token that every call must show.
pub const TOKEN_VARIABLE: &str = "SANDBOX_TOKEN";

/// The header that names the build, on every answer of `POST …/builds`.
pub const BUILD_ID_HEADER: &str = "Sandbox-Build-Id";

/// Where the supervisor tells that it is up, to those who show the token.
pub const HEALTH: &str = "/health";

/// `PUT`: the sandbox's variables ([`crate::process::Environment`]), under everything started from now on.
pub const ENVIRONMENT: &str = "/environment";

/// The last part of `GET /processes/{process}/kept?since=<cursor>&maxBytes=<n>`: a piece of the ledger for
/// the object to keep, as one gzip member of frames ([`crate::kept`]).
///
/// `maxBytes` bounds the frames before compression. The answer's headers tell what the piece is:
/// [`KEPT_FROM`], [`KEPT_TO`], [`KEPT_END`]. With `newest=<n>`, all but the last n bytes is skipped first.
pub const KEPT: &str = "kept";

/// The cursor of the first entry in a kept piece: later than `since` where older output is gone.
pub const KEPT_FROM: &str = "Kept-From";

/// The cursor after the last entry in a kept piece.
pub const KEPT_TO: &str = "Kept-To";

/// The cursor of the ledger's end.
pub const KEPT_END: &str = "Kept-End";

/// The port of a service in the sandbox, as a path of `…/ports/{port}/…` has it. `INVALID_PORT` for what is no
/// port, and for [`SUPERVISOR_PORT`].
pub fn service_port(text: &str) -> Result<u16, ErrorBody> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(SUPERVISOR_PORT) => Err(ErrorBody::new(
            ErrorCode::InvalidPort,
            format!("port {SUPERVISOR_PORT} is the supervisor's own"),
        )),
        Ok(port @ 1..) if digits => Ok(port),
        _ => Err(ErrorBody::new(
            ErrorCode::InvalidPort,
            "a port is a number from 1 to 65535",
        )),
    }
}

/// What the supervisor's `GET /health` answers, and nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// The supervisor's boot; another one means another container.
    pub boot_id: String,
}

/// Where the supervisor tells which calls keep its sandbox awake.
pub const ACTIVITY: &str = "/activity";

/// What the supervisor's `GET /activity` answers: of the calls that count as activity, from their first byte to the
/// last of their answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Activity {
    /// When the newest began of those that are still being answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_since: Option<Timestamp>,
    /// When the last one ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
}

#[cfg(test)]
mod tests {
    use super::service_port;
    use crate::error::ErrorCode;

    #[test]
    fn a_port_is_a_number_that_is_not_the_supervisors() {
        assert_eq!(service_port("1"), Ok(1));
        assert_eq!(service_port("65535"), Ok(65_535));
        for bad in ["", "0", "65536", "+80", "-1", "http", "9711", "8080 "] {
            let refused = service_port(bad).unwrap_err();
            assert_eq!(refused.code, ErrorCode::InvalidPort, "{bad:?}");
        }
    }
}
