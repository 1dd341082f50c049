//! Whether a process is ready: conditions, each met by an event.
//!
//! A port and a command have to be asked again and again, at the interval that the caller chose; a line, a
//! file and the end are told by whoever makes them. Waiting never touches the process.

mod exec;
mod failure;
mod file;
mod listener;
mod pattern;
mod port;
mod search;

use std::path::{Path, PathBuf};
use std::pin::{Pin, pin};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use futures_util::future::{select_ok, try_join_all};
use sandbox_protocol::error::ErrorBody;
use sandbox_protocol::ready::{Condition, FileCheck, Met};

use crate::error::Error;
use crate::process::table::Table;
use crate::process::{Exit, Process};

pub use pattern::{check as check_pattern, find};

/// Waits until `process` meets `condition`, for `limit` at most.
///
/// `PROCESS_READY_TIMEOUT` after that, `PROCESS_EXITED_BEFORE_READY` if it has ended and can meet it no more;
/// both say what failed last and what was printed last. `VALIDATION_FAILED` for an expression that is none.
pub async fn wait(
    table: &Table,
    process: &Process,
    condition: &Condition,
    limit: Duration,
) -> Result<Met, Error> {
    check(condition, "")?;
    let wait = Wait {
        table,
        process,
        last_error: Mutex::default(),
    };
    let met = tokio::time::timeout(limit, wait.meet(condition)).await;
    let unmet = match met {
        Ok(Ok(met)) => return Ok(met),
        Ok(Err(Unmet::Broken(error))) => return Err(error),
        Ok(Err(Unmet::Exited(exit))) => failure::Unready::Exited(exit),
        Err(_) => failure::Unready::TimedOut(limit),
    };
    Err(failure::error(process, condition, unmet, wait.last_error()).await)
}

/// Checks what of `condition` could not be checked by its form. The error names the field below `field`.
pub fn check(condition: &Condition, field: &str) -> Result<(), ErrorBody> {
    let below = |name: &str| match field {
        "" => name.to_owned(),
        _ => format!("{field}.{name}"),
    };
    let each = |name: &str, parts: &[Condition]| {
        let mut parts = parts.iter().enumerate();
        parts.try_for_each(|(index, part)| check(part, &format!("{}[{index}]", below(name))))
    };
    match condition {
        Condition::Log(pattern) => check_pattern(pattern, &below("regex")),
        Condition::All(parts) => each("all", parts),
        Condition::Any(parts) => each("any", parts),
        _ => Ok(()),
    }
}

/// Why a condition can be met no more.
#[derive(Debug)]
enum Unmet {
    /// The process ended.
    Exited(Exit),
    /// It could not be looked at.
    Broken(Error),
}

/// One wait.
struct Wait<'a> {
    table: &'a Table,
    process: &'a Process,
    /// What the last probe said.
    last_error: Mutex<Option<String>>,
}

type Meeting<'a> = Pin<Box<dyn Future<Output = Result<Met, Unmet>> + Send + 'a>>;

impl Wait<'_> {
    fn meet<'a>(&'a self, condition: &'a Condition) -> Meeting<'a> {
        Box::pin(async move {
            match condition {
                Condition::Port(check) => {
                    let pause = Duration::from_millis(check.interval_ms);
                    self.probe(pause, || port::probe(self.process, check)).await
                }
                Condition::Exec(check) => {
                    let pause = Duration::from_millis(check.interval_ms);
                    let probe = || exec::probe(self.table, self.process, &check.argv);
                    self.probe(pause, probe).await
                }
                Condition::Log(pattern) => match find(self.process.ledger(), pattern).await {
                    Ok(Some(met)) => Ok(met),
                    Ok(None) => Err(Unmet::Exited(self.process.exited().await)),
                    Err(error) => Err(Unmet::Broken(error)),
                },
                Condition::Exit => {
                    let exit = self.process.exited().await;
                    Ok(Met::Exit {
                        exit_code: exit.exit_code,
                        signal: exit.signal,
                        reason: exit.reason,
                    })
                }
                Condition::File(check) => self.file(check).await,
                Condition::All(parts) => {
                    let parts = parts.iter().map(|part| self.meet(part));
                    try_join_all(parts).await.map(|all| Met::All { all })
                }
                Condition::Any(parts) => self.any(parts).await,
            }
        })
    }

    /// Probes until it succeeds, with a pause in between; and once more when the process has ended, because
    /// it may have done its part.
    async fn probe<F>(&self, pause: Duration, probe: impl Fn() -> F) -> Result<Met, Unmet>
    where
        F: Future<Output = Result<Met, String>>,
    {
        let mut exited = pin!(self.process.exited());
        loop {
            let attempt = async {
                let result = probe().await;
                if let Err(error) = &result {
                    self.note(error.clone());
                    tokio::time::sleep(pause).await;
                }
                result
            };
            tokio::select! {
                result = attempt => {
                    if let Ok(met) = result {
                        return Ok(met);
                    }
                }
                exit = &mut exited => {
                    return probe().await.map_err(|error| {
                        self.note(error);
                        Unmet::Exited(exit)
                    });
                }
            }
        }
    }

    async fn file(&self, check: &FileCheck) -> Result<Met, Unmet> {
        let path = &check.path;
        let full = Path::new(&self.process.spec().cwd).join(path);
        let full = self.table.folder(&full.to_string_lossy());
        let full = PathBuf::from(full.map_err(Unmet::Broken)?);
        let met = || Met::File {
            file: path.to_owned(),
        };
        tokio::select! {
            seen = file::exists(&full, check.interval_ms.map(Duration::from_millis)) => {
                let seen = seen.map_err(Error::internal("watching for a file"));
                seen.map(|()| met()).map_err(Unmet::Broken)
            }
            exit = self.process.exited() => {
                self.note(format!("there is no {}", full.display()));
                if full.exists() { Ok(met()) } else { Err(Unmet::Exited(exit)) }
            }
        }
    }

    /// The first that is met; fails only when none can be met any more.
    async fn any(&self, parts: &[Condition]) -> Result<Met, Unmet> {
        let numbered = parts.iter().enumerate().map(|(index, part)| {
            Box::pin(async move { self.meet(part).await.map(|met| (met, index)) })
        });
        let ((met, index), _) = select_ok(numbered).await?;
        Ok(Met::Any {
            any: Box::new(met),
            index,
        })
    }

    fn note(&self, error: String) {
        *self.last() = Some(error);
    }

    fn last_error(&self) -> Option<String> {
        self.last().take()
    }

    fn last(&self) -> MutexGuard<'_, Option<String>> {
        self.last_error
            .lock()
            .expect("no code panics while it holds this lock")
    }
}
