//! A terminal over WebSocket: binary messages are what is typed and what is shown; text messages are these.

use serde::{Deserialize, Serialize};

use crate::error::ErrorBody;
use crate::id::{PROCESS_ID_RULE, ProcessId};
use crate::request::invalid;

/// The size of a terminal, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(
    feature = "openapi",
    derive(schemars::JsonSchema),
    schemars(transform = crate::openapi::rules::size)
)]
pub struct Size {
    /// Columns, at least 1.
    pub cols: u16,
    /// Rows, at least 1.
    pub rows: u16,
}

impl Size {
    /// What a terminal has had since there were any.
    pub const DEFAULT: Self = Self { cols: 80, rows: 24 };

    /// Whether there is a place for a character.
    #[must_use]
    pub const fn is_valid(self) -> bool {
        self.cols > 0 && self.rows > 0
    }
}

/// The query of `GET …/pty`, as it comes; what it does not know it ignores.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct TerminalQuery {
    /// Columns; 80 by default.
    #[cfg_attr(feature = "openapi", schemars(with = "Option<u16>"))]
    pub cols: Option<String>,
    /// Rows; 24 by default.
    #[cfg_attr(feature = "openapi", schemars(with = "Option<u16>"))]
    pub rows: Option<String>,
    /// The program, by name or path; `bash` by default.
    pub shell: Option<String>,
    /// The name of the terminal's process, which others join and which outlives its sockets.
    pub session: Option<String>,
}

/// A [`TerminalQuery`] that was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TerminalSpec {
    /// How large it is.
    pub size: Size,
    /// The program.
    pub shell: String,
    /// The name under which it lasts, if it is to.
    pub session: Option<ProcessId>,
}

impl TerminalQuery {
    /// Checks it. The error names the parameter.
    pub fn validate(self) -> Result<TerminalSpec, ErrorBody> {
        let count = |name, given: Option<&str>, default| match given.map(str::parse) {
            None => Ok(default),
            Some(Ok(count @ 1..)) => Ok(count),
            Some(_) => Err(invalid(name, "expected a number from 1 to 65535")),
        };
        let size = Size {
            cols: count("cols", self.cols.as_deref(), Size::DEFAULT.cols)?,
            rows: count("rows", self.rows.as_deref(), Size::DEFAULT.rows)?,
        };
        let shell = self.shell.unwrap_or_else(|| "bash".to_owned());
        if shell.is_empty() || shell.contains('\0') {
            return Err(invalid("shell", "is a program, by name or path"));
        }
        let session = match self.session {
            None => None,
            Some(session) => {
                let id = ProcessId::parse(&session);
                Some(id.ok_or_else(|| invalid("session", PROCESS_ID_RULE))?)
            }
        };
        Ok(TerminalSpec {
            size,
            shell,
            session,
        })
    }
}

/// A text message to a terminal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum TerminalRequest {
    /// The window has another size.
    Resize(Size),
}

/// A text message from a terminal. What was shown before comes first, then `ready`, then what is shown, then
/// one of the other two, the last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(
    tag = "type",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
pub enum TerminalEvent {
    /// What was shown before is sent; what is typed arrives.
    Ready {
        /// The terminal's process, which is in the list and killed like any other.
        process_id: String,
    },
    /// The shell has ended, and all that was shown is sent.
    Exit {
        /// The exit code; 128+n after signal n.
        code: i32,
    },
    /// There is no shell, or none any more, for this reason.
    Error {
        /// A sentence for a person.
        message: String,
        /// The same for a program, where it is one of the protocol's errors.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<ErrorBody>,
    },
}

#[cfg(test)]
mod tests {
    use super::{Size, TerminalQuery};

    #[test]
    fn a_terminal_has_a_shell_and_a_size_without_being_told() {
        let spec = TerminalQuery::default().validate().unwrap();
        assert_eq!((spec.size, spec.shell.as_str()), (Size::DEFAULT, "bash"));
        assert_eq!(spec.session, None);
    }

    #[test]
    fn a_parameter_that_breaks_its_rule_is_named() {
        let query = TerminalQuery::default;
        for (name, bad) in [
            (
                "cols",
                TerminalQuery {
                    cols: Some("0".to_owned()),
                    ..query()
                },
            ),
            (
                "rows",
                TerminalQuery {
                    rows: Some("70000".to_owned()),
                    ..query()
                },
            ),
            (
                "shell",
                TerminalQuery {
                    shell: Some(String::new()),
                    ..query()
                },
            ),
            (
                "session",
                TerminalQuery {
                    session: Some("a b".into()),
                    ..query()
                },
            ),
        ] {
            let field = bad.validate().unwrap_err().context.field;
            assert_eq!(field.as_deref(), Some(name));
        }
    }
}
