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

    /// The form that `accept` likes best of those that there are, the first of them where it likes several as well;
    /// else the default, which is JSON for a snapshot and SSE for a follow. JSON is no form of a follow, so it is
    /// taken for one only where nothing else is named.
    #[must_use]
    pub fn negotiate(accept: Option<&str>, follow: bool) -> Self {
        let default = if follow {
            Self::EventStream
        } else {
            Self::Json
        };
        let named = accept.unwrap_or_default().split(',').filter_map(preference);
        let mut liked: Vec<(Self, f32)> = named.collect();
        if follow && liked.iter().any(|(form, _)| *form != Self::Json) {
            liked.retain(|(form, _)| *form != Self::Json);
        }
        // Stable: of those that are liked as well the first stays the first.
        liked.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        liked.first().map_or(default, |(form, _)| *form)
    }
}

/// The form that a part of an `Accept` names, and how well it is liked; `None` for what we do not have, and for what
/// is not wanted at all.
fn preference(part: &str) -> Option<(Format, f32)> {
    let mut parameters = part.split(';').map(str::trim);
    let form = match parameters.next()?.to_ascii_lowercase().as_str() {
        "application/json" => Format::Json,
        "text/event-stream" => Format::EventStream,
        "application/x-ndjson" => Format::Ndjson,
        "text/plain" => Format::Plain,
        _ => return None,
    };
    let quality = parameters.find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim()
            .eq_ignore_ascii_case("q")
            .then_some(value.trim())
    });
    let quality: f32 = quality.map_or(1.0, |quality| quality.parse().unwrap_or(1.0));
    (quality > 0.0).then_some((form, quality))
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
        let axios = Some("application/json, text/plain, */*");
        assert_eq!(form(axios, false), Format::Json);
        assert_eq!(
            form(axios, true),
            Format::Plain,
            "JSON is no form of a follow"
        );
        assert_eq!(
            form(Some("application/json"), true),
            Format::Json,
            "to be refused"
        );
        let liked = Some("Text/Event-Stream;q=0.1, application/x-ndjson ; Q=0.5");
        assert_eq!(form(liked, true), Format::Ndjson);
        assert_eq!(form(Some("text/plain;q=0"), true), Format::EventStream);
    }
}
