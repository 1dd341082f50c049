//! What a process is waited for.

use sandbox_protocol::log::Selection;
use sandbox_protocol::ready::{ConditionRequest, PortMode, StatusRange};

/// How a port is probed.
#[derive(Clone, Debug)]
#[must_use]
pub struct PortCheck(ConditionRequest);

impl PortCheck {
    /// By a GET of `path` that answers 200 to 399.
    pub fn http(path: impl Into<String>) -> Self {
        Self(ConditionRequest {
            mode: Some(PortMode::Http),
            path: Some(path.into()),
            ..ConditionRequest::default()
        })
    }

    /// By a connection.
    pub fn tcp() -> Self {
        Self(ConditionRequest {
            mode: Some(PortMode::Tcp),
            ..ConditionRequest::default()
        })
    }

    /// Only this status is good.
    pub fn status(mut self, status: u16) -> Self {
        self.0.status = Some(StatusRange::Exactly(status));
        self
    }

    /// The pause between two probes, in milliseconds; 100 by default.
    pub fn interval_ms(mut self, ms: u64) -> Self {
        self.0.interval_ms = Some(ms);
        self
    }

    /// How long to wait, in milliseconds; a minute by default.
    pub fn timeout_ms(mut self, ms: u64) -> Self {
        self.0.timeout_ms = Some(ms);
        self
    }

    pub(super) fn into_request(self, port: u16) -> ConditionRequest {
        ConditionRequest {
            port: Some(u32::from(port)),
            ..self.0
        }
    }
}

/// A line of a log to wait for. A text becomes one by itself.
#[derive(Clone, Debug)]
#[must_use]
pub struct LogPattern(ConditionRequest);

impl LogPattern {
    /// A line that contains `text`.
    pub fn text(text: impl Into<String>) -> Self {
        Self(ConditionRequest {
            log: Some(text.into()),
            ..ConditionRequest::default()
        })
    }

    /// A line that matches `regex`, in the syntax of RE2.
    pub fn regex(regex: impl Into<String>) -> Self {
        Self(ConditionRequest {
            regex: Some(regex.into()),
            ..ConditionRequest::default()
        })
    }

    /// Looks at these streams only; at both by default.
    pub fn on(mut self, stream: Selection) -> Self {
        self.0.stream = Some(stream);
        self
    }

    /// How long to wait, in milliseconds; a minute by default.
    pub fn timeout_ms(mut self, ms: u64) -> Self {
        self.0.timeout_ms = Some(ms);
        self
    }

    pub(super) fn into_request(self) -> ConditionRequest {
        self.0
    }
}

impl From<&str> for LogPattern {
    fn from(text: &str) -> Self {
        Self::text(text)
    }
}

impl From<String> for LogPattern {
    fn from(text: String) -> Self {
        Self::text(text)
    }
}
