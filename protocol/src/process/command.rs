//! What is run: one line for a shell, or words for the kernel; and where.

use crate::error::{ErrorBody, ErrorCode};
use crate::request::invalid;

/// What is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// A line for `bash -c`.
    Shell(String),
    /// An executable and its arguments; at least one element.
    Argv(Vec<String>),
}

impl Command {
    /// Takes exactly one of the two fields of a request. The error is `VALIDATION_FAILED` or
    /// `INVALID_COMMAND`.
    pub fn from_fields(command: Option<&str>, argv: Option<&[String]>) -> Result<Self, ErrorBody> {
        let empty = |what: &str| ErrorBody::new(ErrorCode::InvalidCommand, what);
        let command = match (command, argv) {
            (Some(_), Some(_)) => return Err(invalid("argv", "give command or argv, not both")),
            (None, None) => return Err(invalid("command", "give command or argv")),
            (Some(line), None) if line.trim().is_empty() => {
                return Err(empty("the command is empty"));
            }
            (None, Some([])) => return Err(empty("argv is empty")),
            (None, Some([first, ..])) if first.is_empty() => {
                return Err(empty("the first element of argv is empty"));
            }
            (Some(line), None) => Self::Shell(line.to_owned()),
            (None, Some(argv)) => Self::Argv(argv.to_vec()),
        };
        if command.argv().iter().any(|word| word.contains('\0')) {
            return Err(empty("the command contains a NUL byte"));
        }
        Ok(command)
    }

    /// The words that the kernel gets.
    #[must_use]
    pub fn argv(&self) -> Vec<&str> {
        match self {
            Self::Shell(line) => vec!["bash", "-c", line],
            Self::Argv(argv) => argv.iter().map(String::as_str).collect(),
        }
    }

    /// The command as one line, for people.
    #[must_use]
    pub fn display(&self) -> String {
        match self {
            Self::Shell(line) => line.clone(),
            Self::Argv(argv) => argv.join(" "),
        }
    }
}

/// The working directory that `cwd` means: itself if absolute, else below `/workspace`.
pub fn absolute_cwd(cwd: Option<&str>) -> Result<String, ErrorBody> {
    match cwd {
        None => Ok("/workspace".to_owned()),
        Some(cwd) if cwd.is_empty() || cwd.contains('\0') => Err(ErrorBody::new(
            ErrorCode::InvalidCwd,
            "cwd is a path: not empty, without NUL",
        )),
        Some(cwd) if cwd.starts_with('/') => Ok(cwd.to_owned()),
        Some(cwd) => Ok(format!("/workspace/{cwd}")),
    }
}
