//! One run of a command that exits 0 when a process is ready.

use sandbox_protocol::exec::ExecSpec;
use sandbox_protocol::process::Command;
use sandbox_protocol::ready::Met;

use crate::process::table::Table;
use crate::process::{Happening, Process};

/// How long one run may take, in milliseconds.
const DEADLINE_MS: u64 = 5000;

/// How much of what it prints is kept for the answer, in bytes.
const MAX_PRINTED_BYTES: usize = 4096;

/// Runs `argv` once, as the same user, in the same folder and with the same variables as `process`. The error
/// says, for a person, why it is not ready.
pub(super) async fn probe(
    table: &Table,
    process: &Process,
    argv: &[String],
) -> Result<Met, String> {
    let of = process.spec();
    let spec = ExecSpec {
        command: Command::Argv(argv.to_vec()),
        cwd: of.cwd.clone(),
        env: of.env.clone(),
        timeout_ms: Some(DEADLINE_MS),
        stdin: String::new(),
        user: of.user.clone(),
    };
    let mut execution = table
        .run_once(spec)
        .await
        .map_err(|error| error.to_string())?;
    let mut printed = Vec::new();
    while let Some(happening) = execution.next().await {
        match happening {
            Happening::Output(_, bytes) => {
                let room = MAX_PRINTED_BYTES - printed.len();
                printed.extend_from_slice(&bytes[..bytes.len().min(room)]);
            }
            Happening::Exit { exit_code: 0, .. } => {
                return Ok(Met::Exec {
                    exec: argv.to_vec(),
                });
            }
            Happening::Exit { exit_code, .. } => {
                let printed = String::from_utf8_lossy(&printed);
                let last = printed
                    .trim_end()
                    .lines()
                    .last()
                    .unwrap_or("it said nothing");
                return Err(format!("{} exited with code {exit_code}: {last}", argv[0]));
            }
            Happening::Lost | Happening::Survived(_) => break,
        }
    }
    Err(format!("nobody saw how {} ended", argv[0]))
}
