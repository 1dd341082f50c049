//! Files of the workspace: what is in a folder, and what of it an archive leaves out.

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// The answer of `GET …/files/{path}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Listing {
    /// The folder, absolute.
    pub path: String,
    /// What is in it, by name.
    pub entries: Vec<Entry>,
}

/// One name in a folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// The name; what is not UTF-8 in it is replaced.
    pub name: String,
    /// What it names.
    #[serde(rename = "type")]
    pub kind: EntryKind,
    /// Its length, in bytes.
    pub size_bytes: u64,
    /// When its content was last changed.
    pub modified_at: Timestamp,
    /// Its permissions, in octal (`0644`).
    pub mode: String,
    /// Where a link leads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
}

/// What a name in a folder stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A folder.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A socket, a FIFO or a device.
    Other,
}

/// The query of `POST …/persist`; what it does not know it ignores.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct PersistQuery {
    /// Paths relative to the workspace, separated by commas, that stay out of the archive.
    pub excludes: Option<String>,
}
