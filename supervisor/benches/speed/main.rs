//! The load generator of `make bench`: each measure beside its yardstick, taken in the same run.
//!
//! `speed <supervisor> <report.json>` starts that program on loopback, measures it over its HTTP API, prints a
//! table and writes the numbers. `speed child …` is what the supervisor runs meanwhile ([`child`]).

#![expect(clippy::cast_precision_loss, reason = "no number here comes near 2^52")]

mod boot;
mod child;
mod client;
mod commands;
mod events;
mod fan_out;
mod logs;
mod report;
mod samples;
mod server;

use std::io;
use std::path::Path;
use std::process::ExitCode;

use report::Report;

fn main() -> ExitCode {
    // `cargo bench` adds a word of its own.
    let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
    let done = match (words.next(), words.next()) {
        (Some(word), Some(kind)) if word == "child" => child::run(&kind, words),
        (Some(supervisor), Some(json)) => measure(supervisor.as_ref(), json.as_ref()),
        _ => Err(io::Error::other("usage: speed <supervisor> <report.json>")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("speed: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(supervisor: &Path, json: &Path) -> io::Result<()> {
    // One thread: what the client takes is taken from the supervisor on a machine of two cores.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut report = Report::new();
    runtime.block_on(async {
        boot::measure(&mut report, supervisor).await?;
        commands::measure(&mut report, supervisor).await?;
        events::measure(&mut report, supervisor).await?;
        fan_out::measure(&mut report, supervisor).await?;
        logs::measure(&mut report, supervisor).await
    })?;
    report.print();
    report.write(json)
}
