//! What a process prints: streams, events, and how a reader asks for them.

mod event;
mod format;
mod query;

pub use event::{Encoding, LogEvent, Output, ending};
pub use format::Format;
pub use query::{From, LogQuery, LogRequest, flag};

use serde::{Deserialize, Serialize};

/// One of the two outputs of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum Stream {
    /// File descriptor 1, and 2 as well where the streams are merged or a terminal.
    Stdout,
    /// File descriptor 2.
    Stderr,
}

/// Which streams a reader wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum Selection {
    /// Both, in the order in which they were read.
    #[default]
    Both,
    /// Standard output alone.
    Stdout,
    /// Standard error alone.
    Stderr,
}

impl Selection {
    /// Whether `stream` is one of the selected.
    #[must_use]
    pub const fn has(self, stream: Stream) -> bool {
        match self {
            Self::Both => true,
            Self::Stdout => matches!(stream, Stream::Stdout),
            Self::Stderr => matches!(stream, Stream::Stderr),
        }
    }
}

/// The JSON answer of a log route.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Logs {
    /// Whose log it is.
    pub process_id: String,
    /// Standard output; what is not UTF-8 is replaced by U+FFFD (the other forms are exact).
    pub stdout: String,
    /// Standard error, likewise.
    pub stderr: String,
    /// Where this answer ends, to go on from.
    pub cursor: String,
    /// Whether older output of the selected streams was dropped.
    pub truncated: bool,
}
