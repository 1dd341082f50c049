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

    /// The form that `accept` likes best, the first of them where it likes several as well; else `default`.
    #[must_use]
    pub fn negotiate(accept: Option<&str>, default: Self) -> Self {
        liked(accept).first().map_or(default, |(form, _)| *form)
    }

    /// The same for what goes on, which has no JSON form: that is taken only where no other is named.
    #[must_use]
    pub fn negotiate_follow(accept: Option<&str>) -> Self {
        let liked = liked(accept);
        let other = liked.iter().find(|(form, _)| *form != Self::Json);
        let best = other.or(liked.first());
        best.map_or(Self::EventStream, |(form, _)| *form)
    }
}

/// The forms that `accept` names, best first; those that it likes as well in its own order.
fn liked(accept: Option<&str>) -> Vec<(Format, f32)> {
    let named = accept.unwrap_or_default().split(',').filter_map(preference);
    let mut liked: Vec<_> = named.collect();
    liked.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    liked
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
    fn the_form_is_the_one_that_accept_likes_best() {
        let form = |accept| Format::negotiate(accept, Format::Json);
        let axios = Some("application/json, text/plain, */*");
        for (accept, wanted) in [
            (None, Format::Json),
            (axios, Format::Json),
            (Some("text/html, text/plain;q=0.9"), Format::Plain),
            (
                Some("Text/Event-Stream;q=0.1, application/x-ndjson ; Q=0.5"),
                Format::Ndjson,
            ),
            (Some("text/plain;q=0"), Format::Json),
        ] {
            assert_eq!(form(accept), wanted, "{accept:?}");
        }
        let bridge = Format::negotiate(Some("*/*"), Format::EventStream);
        assert_eq!(bridge, Format::EventStream);
    }

    #[test]
    fn what_goes_on_is_json_only_where_nothing_else_would_do() {
        let form = |accept| Format::negotiate_follow(Some(accept));
        assert_eq!(form("*/*"), Format::EventStream);
        assert_eq!(form("application/json, text/plain, */*"), Format::Plain);
        assert_eq!(
            form("application/json, text/event-stream"),
            Format::EventStream
        );
        assert_eq!(form("application/json"), Format::Json, "to be refused");
    }
}
