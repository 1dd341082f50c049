//! Names that two hops must agree on: headers, variables, the supervisor's own routes.

use serde::{Deserialize, Serialize};

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

/// What the supervisor's `GET /health` answers, and nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// The supervisor's boot; another one means another container.
    pub boot_id: String,
}
