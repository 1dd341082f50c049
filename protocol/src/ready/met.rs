//! What was met.

use serde::{Deserialize, Serialize};

use super::PortMode;
use crate::log::Stream;
use crate::process::ExitReason;
use crate::signal::Signal;

/// What was met: the 200 of `POST …/wait`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(untagged, rename_all_fields = "camelCase")]
pub enum Met {
    /// A line of the log.
    Log {
        /// The line, without its end.
        line: String,
        /// The whole match and its groups, for a regular expression.
        #[serde(rename = "match", default, skip_serializing_if = "Option::is_none")]
        groups: Option<Vec<Option<String>>>,
        /// Where it was printed.
        stream: Stream,
        /// Just after the output in which it was found.
        cursor: String,
    },
    /// A listener.
    Port {
        /// The port.
        port: u16,
        /// How it was probed.
        mode: PortMode,
        /// The status of the HTTP probe.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        status: Option<u16>,
        /// `unknown` where the kernel does not tell whose listener it is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        owner: Option<String>,
    },
    /// A command that exited 0.
    Exec {
        /// The command.
        exec: Vec<String>,
    },
    /// A file that exists.
    File {
        /// Its path.
        file: String,
    },
    /// Every one, in the order of the request.
    All {
        /// What each met.
        all: Vec<Met>,
    },
    /// The first.
    Any {
        /// What it met.
        any: Box<Met>,
        /// Which one of the request it was, from 0.
        index: usize,
    },
    /// The process's end.
    Exit {
        /// Its exit code; null when a signal ended it.
        exit_code: Option<i32>,
        /// The signal that ended it.
        signal: Option<Signal>,
        /// Why it ended.
        reason: ExitReason,
    },
}
