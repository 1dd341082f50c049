//! The form of a log answer.

/// The form of a log answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One [`Logs`](super::Logs) object.
    Json,
    /// Server-sent events.
    EventStream,
    /// The events of SSE, one a line.
    Ndjson,
    /// The raw bytes.
    Plain,
}

impl Format {
    /// The media type of the answer.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::EventStream => "text/event-stream",
            Self::Ndjson => "application/x-ndjson",
            Self::Plain => "text/plain; charset=utf-8",
        }
    }

    /// The form that `accept` asks for: the first type in it that we have, else the default, which is
    /// JSON for a snapshot and SSE for a follow.
    #[must_use]
    pub fn negotiate(accept: Option<&str>, follow: bool) -> Self {
        let default = if follow {
            Self::EventStream
        } else {
            Self::Json
        };
        let named = |part: &str| match part.split(';').next().unwrap_or_default().trim() {
            "application/json" => Some(Self::Json),
            "text/event-stream" => Some(Self::EventStream),
            "application/x-ndjson" => Some(Self::Ndjson),
            "text/plain" => Some(Self::Plain),
            _ => None,
        };
        accept
            .and_then(|accept| accept.split(',').find_map(named))
            .unwrap_or(default)
    }
}

#[cfg(test)]
mod tests {
    use super::Format;

    #[test]
    fn the_form_follows_accept_and_else_follow() {
        let form = Format::negotiate;
        assert_eq!(form(None, false), Format::Json);
        assert_eq!(form(Some("*/*"), true), Format::EventStream);
        assert_eq!(
            form(Some("text/html, text/plain;q=0.9"), true),
            Format::Plain
        );
    }
}
