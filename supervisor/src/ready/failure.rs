//! Why a process is not ready, for those who have to find out what is wrong with it.

use std::time::Duration;

use sandbox_protocol::error::{ErrorBody, ErrorCode, ErrorContext};
use sandbox_protocol::log::ending;
use sandbox_protocol::ready::{Condition, Needle, PortMode};

use crate::error::Error;
use crate::process::{Exit, Process};

/// How many of the last lines are told.
const TAIL_LINES: usize = 20;

/// Why a wait ended without its condition.
#[derive(Clone, Copy, Debug)]
pub(super) enum Unready {
    /// The process ended.
    Exited(Exit),
    /// The time passed.
    TimedOut(Duration),
}

/// The error of a wait for `condition`, with what the last probe said and what was printed last.
pub(super) async fn error(
    process: &Process,
    condition: &Condition,
    unready: Unready,
    last_error: Option<String>,
) -> Error {
    let wanted = describe(condition);
    let log_tail = process.ledger().tail_lines(TAIL_LINES).await;
    let common = |context: &mut ErrorContext| {
        context.process_id = Some(process.id().to_owned());
        context.condition = Some(wanted.clone());
        context.last_error = last_error;
        context.log_tail = Some(log_tail);
    };
    let body = match unready {
        Unready::Exited(exit) => {
            let end = ending(exit.exit_code, exit.signal);
            let sentence = format!("the process {end} before it was ready: {wanted}");
            ErrorBody::new(ErrorCode::ProcessExitedBeforeReady, sentence)
                .with(common)
                .with(|context| {
                    context.exit_code = exit.exit_code;
                    context.signal = exit.signal.map(|signal| signal.to_string());
                })
        }
        Unready::TimedOut(limit) => {
            let ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
            let sentence = format!("the process was not ready within {ms} ms: {wanted}");
            ErrorBody::new(ErrorCode::ProcessReadyTimeout, sentence)
                .with(common)
                .with(|context| context.timeout_ms = Some(ms))
        }
    };
    body.into()
}

/// A condition in words.
fn describe(condition: &Condition) -> String {
    let list = |parts: &[Condition], word: &str| {
        let parts: Vec<String> = parts.iter().map(describe).collect();
        parts.join(word)
    };
    match condition {
        Condition::Port(check) => match check.mode {
            PortMode::Http => format!("GET {} on port {} succeeds", check.path, check.port),
            PortMode::Tcp => format!("port {} takes connections", check.port),
        },
        Condition::Log(pattern) => match &pattern.needle {
            Needle::Text(text) => format!("a line of the log contains {text:?}"),
            Needle::Regex(regex) => format!("a line of the log matches /{regex}/"),
        },
        Condition::Exit => "the process ends".to_owned(),
        Condition::Exec(check) => format!("{} exits 0", check.argv.join(" ")),
        Condition::File(check) => format!("{} exists", check.path),
        Condition::All(parts) => format!("({})", list(parts, " and ")),
        Condition::Any(parts) => format!("({})", list(parts, " or ")),
    }
}
