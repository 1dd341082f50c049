//! Reading a request body: the field that is wrong is named, and nothing is guessed.

use serde::Deserializer;
use serde::de::DeserializeOwned;

use crate::error::{ErrorBody, ErrorCode};

/// The largest JSON body that is read, in bytes.
pub const MAX_JSON_BYTES: u64 = 1 << 20;

/// Reads `T` from `deserializer`. The error is `VALIDATION_FAILED` with the field's path in the message
/// and in the context.
pub fn parse<'de, T, D>(deserializer: D) -> Result<T, ErrorBody>
where
    T: DeserializeOwned,
    D: Deserializer<'de, Error: std::fmt::Display>,
{
    serde_path_to_error::deserialize(deserializer).map_err(|error| {
        let path = error.path().to_string();
        let reason = error.into_inner().to_string();
        // `.` stands for the whole body, `?` for a place that has no name.
        if path == "." || path.contains('?') {
            return ErrorBody::new(ErrorCode::ValidationFailed, reason);
        }
        invalid(&path, &reason)
    })
}

/// `VALIDATION_FAILED` for `field`, with the rule that it breaks.
#[must_use]
pub fn invalid(field: &str, rule: &str) -> ErrorBody {
    ErrorBody::new(ErrorCode::ValidationFailed, format!("{field}: {rule}"))
        .with(|context| context.field = Some(field.to_owned()))
}
