//! What it costs to be there: the time to the first answer, memory at rest, the size of the program.

use std::io::{self, Read};
use std::path::Path;
use std::time::Instant;

use hyper::Method;
use serde_json::{Value, json};

use crate::client::Client;
use crate::report::{Report, Row};
use crate::samples::Samples;
use crate::server::Server;

/// How often it is started.
const STARTS: usize = 20;

pub(crate) async fn measure(report: &mut Report, program: &Path) -> io::Result<()> {
    first_answer(report, program).await?;
    size(report, program)
}

async fn first_answer(report: &mut Report, program: &Path) -> io::Result<()> {
    let mut starts = Samples::default();
    let mut memory = 0;
    for _ in 0..STARTS {
        let begun = Instant::now();
        let server = Server::start(program)?;
        let mut client = Client::connect(server.address).await?;
        client.call(Method::GET, "/health", &Value::Null).await?;
        starts.push(begun.elapsed());
        memory = memory.max(server.memory("VmRSS:")?);
    }
    let p50 = starts.percentile(50);
    report.add(Row {
        measure: "start to first response",
        official: "52 / 63 ms",
        ours: format!("{p50:.1} ms"),
        yardstick: String::new(),
        goal: "≤ 10 ms",
        reached: p50 <= 10.0,
        numbers: json!({"p50Ms": p50, "p99Ms": starts.percentile(99)}),
    });
    let megabytes = memory as f64 / 1e6;
    report.add(Row {
        measure: "idle memory (RSS)",
        official: "46 MB",
        ours: format!("{megabytes:.1} MB"),
        yardstick: String::new(),
        goal: "≤ 5 MB",
        reached: megabytes <= 5.0,
        numbers: json!({"bytes": memory}),
    });
    Ok(())
}

fn size(report: &mut Report, program: &Path) -> io::Result<()> {
    let mut bytes = Vec::new();
    std::fs::File::open(program)?.read_to_end(&mut bytes)?;
    // A dynamic program names the one that loads it.
    let is_static = memchr::memmem::find(&bytes, b"/ld-linux").is_none()
        && memchr::memmem::find(&bytes, b"/ld-musl").is_none();
    let megabytes = bytes.len() as f64 / 1e6;
    let linked = if is_static { "static" } else { "dynamic" };
    report.add(Row {
        measure: "executable",
        official: "101 MB",
        ours: format!("{megabytes:.1} MB, {linked}"),
        yardstick: String::new(),
        goal: "≤ 6 MB, static",
        reached: megabytes <= 6.0 && is_static,
        numbers: json!({"bytes": bytes.len(), "static": is_static}),
    });
    Ok(())
}
