//! Which sandboxes there are, a page at a time.

use serde::{Deserialize, Serialize};

use super::{Sandbox, SandboxStatus};

/// How many sandboxes a page has that names no limit.
pub const PAGE: u32 = 50;

/// How many sandboxes a page has at most.
pub const MAX_PAGE: u32 = 100;

/// The query of `GET /v1/sandbox`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SandboxQuery {
    /// Those alone that are there in their lives.
    pub status: Option<SandboxStatus>,
    /// How many a page has at most: 1 to 100, 50 by default.
    #[cfg_attr(feature = "openapi", schemars(with = "Option<u64>", range(min = 1, max = MAX_PAGE)))]
    pub limit: Option<String>,
    /// Where the page begins: the `cursor` of the one before.
    #[cfg_attr(
        feature = "openapi",
        schemars(regex(pattern = r"^[0-9]{1,2}\.[a-z0-9-]*$"))
    )]
    pub cursor: Option<String>,
}

/// The answer of `GET /v1/sandbox`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct SandboxList {
    /// Those that run or have a record; each tells its state as of now.
    pub sandboxes: Vec<Sandbox>,
    /// Where the next page begins; absent on the last one. A page may have fewer than it could.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}
