//! The events of a log stream.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::Stream;
use crate::build::BuildEvent;
use crate::process::ExitReason;
use crate::signal::Signal;
use crate::time::Timestamp;

/// One event of a log stream. In SSE it is the `data` of a frame whose `id` is the cursor just after it
/// (`truncated`: just before the first surviving event). Every event has a string `data`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(
    tag = "type",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
pub enum LogEvent<'a> {
    /// Bytes of standard output.
    Stdout(Output<'a>),
    /// Bytes of standard error.
    Stderr(Output<'a>),
    /// Older output was dropped before it could be read.
    Truncated {
        /// How many bytes of the selected streams are gone.
        bytes: u64,
        /// A sentence that says so.
        data: Cow<'a, str>,
        /// Whose log it is.
        process_id: Cow<'a, str>,
        /// When it was noticed.
        timestamp: Timestamp,
    },
    /// A run ended and the next begins, under a restart policy.
    Restart {
        /// The number of the run that begins; the first is 1.
        run: u32,
        /// The exit code of the run that ended; null when a signal ended it.
        exit_code: Option<i32>,
        /// The signal that ended it.
        signal: Option<Signal>,
        /// A sentence that says so.
        data: Cow<'a, str>,
        /// Whose log it is.
        process_id: Cow<'a, str>,
        /// When the run ended.
        timestamp: Timestamp,
    },
    /// The process ended, and was seen to. Last, once.
    Exit {
        /// The exit code; null when a signal ended it.
        exit_code: Option<i32>,
        /// The signal that ended it.
        signal: Option<Signal>,
        /// Why it ended.
        reason: ExitReason,
        /// A sentence that says so.
        data: Cow<'a, str>,
        /// Whose log it is.
        process_id: Cow<'a, str>,
        /// When it ended.
        timestamp: Timestamp,
    },
    /// The build ended and its sandbox is destroyed. Last, once, in the stream of a build.
    Build(BuildEvent),
}

/// A piece of what a process printed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Output<'a> {
    /// The text, or the bytes in base64.
    pub data: Cow<'a, str>,
    /// Present when `data` is base64, because the bytes are not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<Encoding>,
    /// Whose output it is.
    pub process_id: Cow<'a, str>,
    /// When it was read from the pipe.
    pub timestamp: Timestamp,
}

/// How bytes are written in `data`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum Encoding {
    /// RFC 4648, with padding.
    Base64,
}

impl<'a> Output<'a> {
    /// `bytes` as text where they are UTF-8, else as base64.
    #[must_use]
    pub fn new(bytes: &'a [u8], process_id: &'a str, timestamp: Timestamp) -> Self {
        let (data, encoding) = match std::str::from_utf8(bytes) {
            Ok(text) => (Cow::Borrowed(text), None),
            Err(_) => (Cow::Owned(STANDARD.encode(bytes)), Some(Encoding::Base64)),
        };
        Self {
            data,
            encoding,
            process_id: Cow::Borrowed(process_id),
            timestamp,
        }
    }

    /// The bytes that the process wrote; `None` if the base64 is damaged.
    #[must_use]
    pub fn bytes(&self) -> Option<Cow<'_, [u8]>> {
        match self.encoding {
            None => Some(Cow::Borrowed(self.data.as_bytes())),
            Some(Encoding::Base64) => STANDARD.decode(self.data.as_bytes()).ok().map(Cow::Owned),
        }
    }
}

impl<'a> LogEvent<'a> {
    /// The event of `output` on `stream`.
    #[must_use]
    pub fn output(stream: Stream, output: Output<'a>) -> Self {
        match stream {
            Stream::Stdout => Self::Stdout(output),
            Stream::Stderr => Self::Stderr(output),
        }
    }

    /// The event of a gap of `bytes`.
    #[must_use]
    pub fn truncated(bytes: u64, process_id: &'a str, timestamp: Timestamp) -> Self {
        Self::Truncated {
            bytes,
            data: Cow::Owned(format!("{bytes} bytes of older output were dropped")),
            process_id: Cow::Borrowed(process_id),
            timestamp,
        }
    }
}

/// The sentence for an end by `exit_code` or `signal`.
#[must_use]
pub fn ending(exit_code: Option<i32>, signal: Option<Signal>) -> String {
    match (exit_code, signal) {
        (Some(code), _) => format!("exited with code {code}"),
        (None, Some(signal)) => format!("ended by {signal}"),
        (None, None) => "ended, and nobody saw how".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::Output;
    use crate::time::Timestamp;

    #[test]
    fn bytes_that_are_not_text_are_base64_and_come_back() {
        for bytes in [&b"plain"[..], "grün".as_bytes(), &[0xff, 0x00, 0xfe], b""] {
            let output = Output::new(bytes, "p", Timestamp(0));
            assert_eq!(output.bytes().as_deref(), Some(bytes));
            assert_eq!(
                output.encoding.is_some(),
                std::str::from_utf8(bytes).is_err()
            );
        }
    }
}
