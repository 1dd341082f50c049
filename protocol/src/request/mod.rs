//! Reading a request body: the field that is wrong is named, and nothing is guessed.

mod strict;

use serde::Deserializer;
use serde::de::DeserializeOwned;

use self::strict::Strict;
use crate::error::{ErrorBody, ErrorCode};

/// The largest JSON body that is read, in bytes.
pub const MAX_JSON_BYTES: u64 = 1 << 20;

/// How much of a refused request's body is read all the same, in bytes: a connection that is closed on unread
/// bytes is reset, and its other end may never get to read why. What is longer is cut off.
pub const MAX_DRAINED_BYTES: u64 = 100 << 20;

/// For how long it is read, in milliseconds.
pub const MAX_DRAIN_MS: u64 = 30_000;

/// How long it may pause meanwhile, in milliseconds: who sends as things happen is answered before all have.
pub const MAX_DRAIN_PAUSE_MS: u64 = 1000;

/// Reads `T` from `deserializer`. The error is `VALIDATION_FAILED` with the field's path in the message
/// and in the context.
pub fn parse<'de, T, D>(deserializer: D) -> Result<T, ErrorBody>
where
    T: DeserializeOwned,
    D: Deserializer<'de, Error: std::fmt::Display>,
{
    serde_path_to_error::deserialize(Strict(deserializer)).map_err(|error| {
        let path = error.path().to_string();
        let reason = error.into_inner().to_string();
        // `.` stands for the whole body, `?` for a place that has no name.
        if path == "." || path.contains('?') {
            return ErrorBody::new(ErrorCode::ValidationFailed, reason);
        }
        invalid(&path, &reason)
    })
}

/// Reads `T` from the whole of `json`: a second value after the first is malformed too. The error is that of
/// [`parse`].
pub fn parse_json<T: DeserializeOwned>(json: &[u8]) -> Result<T, ErrorBody> {
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let value = parse(&mut deserializer)?;
    let end = deserializer.end();
    end.map_err(|error| invalid("body", &error.to_string()))?;
    Ok(value)
}

/// Reads `T`, all of whose fields are text, from the decoded pairs of a query. The error is that of [`parse`], also
/// for a parameter that is given twice.
pub fn parse_query<T: DeserializeOwned>(
    pairs: impl IntoIterator<Item = (String, String)>,
) -> Result<T, ErrorBody> {
    let mut query = serde_json::Map::new();
    for (name, value) in pairs {
        if query.contains_key(&name) {
            return Err(invalid(&name, "is given more than once"));
        }
        query.insert(name, value.into());
    }
    parse(serde_json::Value::Object(query))
}

/// `VALIDATION_FAILED` for `field`, with the rule that it breaks.
#[must_use]
pub fn invalid(field: &str, rule: &str) -> ErrorBody {
    ErrorBody::new(ErrorCode::ValidationFailed, format!("{field}: {rule}"))
        .with(|context| context.field = Some(field.to_owned()))
}

#[cfg(test)]
mod tests {
    use crate::log::LogQuery;
    use crate::process::{KillRequest, ProcessRequest};
    use crate::request::{parse, parse_json, parse_query};
    use crate::sandbox::OptionsRequest;

    fn field<T: serde::de::DeserializeOwned>(json: &str) -> String {
        let read = parse::<T, _>(&mut serde_json::Deserializer::from_str(json));
        let refused = read.err().unwrap_or_else(|| panic!("{json} was taken"));
        refused.context.field.unwrap_or_default()
    }

    #[test]
    fn a_query_has_each_parameter_once() {
        let read = |pairs: &[(&str, &str)]| {
            let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
            parse_query::<LogQuery>(pairs.iter().map(owned).collect::<Vec<_>>())
        };
        assert!(
            read(&[("follow", "true"), ("tail", "3")])
                .unwrap()
                .follows()
        );
        for (pairs, name) in [
            ([("tail", "1"), ("tail", "2")], "tail"),
            ([("tail", "1"), ("nope", "2")], "nope"),
        ] {
            let refused = read(&pairs).unwrap_err();
            assert_eq!(refused.context.field.as_deref(), Some(name));
        }
    }

    #[test]
    fn what_follows_a_value_is_malformed() {
        assert!(parse_json::<KillRequest>(b" {} ").is_ok());
        assert!(parse_json::<KillRequest>(b"{} x").is_err());
        assert!(parse_json::<KillRequest>(b"{}{}").is_err());
    }

    #[test]
    fn a_list_is_no_object_however_deep_it_stands() {
        assert_eq!(field::<KillRequest>("[]"), "");
        assert_eq!(field::<KillRequest>("[null, null]"), "");
        for (json, name) in [
            (r#"{"command":"a","limits":[]}"#, "limits"),
            (r#"{"command":"a","restart":[]}"#, "restart"),
            (r#"{"command":"a","until":["x"]}"#, "until"),
            (r#"{"command":"a","ready":{"all":[[80]]}}"#, "ready.all[0]"),
            (
                r#"{"command":"a","ready":{"port":80,"status":[1,2]}}"#,
                "ready.status",
            ),
        ] {
            assert_eq!(field::<ProcessRequest>(json), name, "{json}");
        }
        assert_eq!(field::<OptionsRequest>(r#"{"keepAlive":[5]}"#), "keepAlive");
    }

    #[test]
    fn a_whole_number_may_have_a_point() {
        let read = |json| parse::<KillRequest, _>(&mut serde_json::Deserializer::from_str(json));
        assert_eq!(read(r#"{"graceMs":5.0}"#), read(r#"{"graceMs":5}"#));
        assert_eq!(read(r#"{"signal":9.0}"#), read(r#"{"signal":9}"#));
        assert_eq!(read(r#"{"graceMs":1e3}"#), read(r#"{"graceMs":1000}"#));
        for bad in ["5.5", "-5.0", "1e300"] {
            assert_eq!(
                field::<KillRequest>(&format!(r#"{{"graceMs":{bad}}}"#)),
                "graceMs"
            );
        }
    }

    #[test]
    fn an_unknown_field_is_refused_however_deep_it_stands() {
        let json = r#"{"command":"a","ready":{"port":80,"status":{"min":1,"max":2,"x":3}}}"#;
        assert_eq!(field::<ProcessRequest>(json), "ready.status.x");
        assert_eq!(
            field::<OptionsRequest>(r#"{"keepAlive":{"maxMs":5,"x":1}}"#),
            "keepAlive.x"
        );
    }
}
