//! Variables, and the names and values that no environment can hold.

use std::collections::BTreeMap;

use crate::error::ErrorBody;
use crate::request::invalid;

/// Variables by name; `null` takes one away.
pub type Environment = BTreeMap<String, Option<String>>;

/// Refuses names that no environment can hold: empty, with `=` or NUL; and values with NUL.
pub fn check_environment(field: &str, env: &Environment) -> Result<(), ErrorBody> {
    for (name, value) in env {
        if name.is_empty() || name.contains(['=', '\0']) {
            return Err(invalid(
                &format!("{field}.{name}"),
                "a variable's name is not empty and has neither '=' nor NUL",
            ));
        }
        if value.as_ref().is_some_and(|value| value.contains('\0')) {
            return Err(invalid(
                &format!("{field}.{name}"),
                "a variable's value has no NUL",
            ));
        }
    }
    Ok(())
}
