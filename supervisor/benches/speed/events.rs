//! From a line that is printed to its event at a follower, beside a bare pipe with one reader.

use std::io::{self, Read};
use std::path::Path;

use serde_json::{Value, json};

use crate::child;
use crate::client::{self, Client, Frames};
use crate::report::{Report, Row};
use crate::samples::{Samples, now_ns};
use crate::server::Server;

/// How many lines are printed, and the pause before each in microseconds.
const LINES: [u64; 2] = [2000, 1000];
/// The same of prompts.
const PROMPTS: [u64; 2] = [300, 2000];

pub(crate) async fn measure(report: &mut Report, program: &Path) -> io::Result<()> {
    let server = Server::start(program)?;
    let lines = delays(&server, "lines", "stamps", &LINES).await?;
    let bare = bare(&LINES)?;
    let (p50, p99) = (lines.percentile(50), lines.percentile(99));
    report.add(Row {
        measure: "line printed to event received, p50 / p99",
        official: "0.53 / 1.6 ms · 51 / 100 ms",
        ours: format!("{p50:.3} / {p99:.3} ms"),
        yardstick: format!("{:.3} ms pipe", bare.percentile(50)),
        goal: "≤ 0.15 / 1 ms",
        reached: p50 <= 0.15 && p99 <= 1.0,
        numbers: json!({
            "p50Ms": p50, "p99Ms": p99,
            "yardstickP50Ms": bare.percentile(50), "yardstickP99Ms": bare.percentile(99),
        }),
    });
    let prompts = delays(&server, "prompts", "prompts", &PROMPTS).await?;
    let (p50, p99) = (prompts.percentile(50), prompts.percentile(99));
    report.add(Row {
        measure: "a prompt without a newline, p50 / p99",
        official: "13 ms / 5 s",
        ours: format!("{p50:.3} / {p99:.3} ms"),
        yardstick: String::new(),
        goal: "≤ 1 ms",
        reached: p99 <= 1.0,
        numbers: json!({"p50Ms": p50, "p99Ms": p99}),
    });
    Ok(())
}

/// How long each stamp of the child `kind` took to arrive.
pub(crate) async fn delays(
    server: &Server,
    id: &str,
    kind: &str,
    numbers: &[u64],
) -> io::Result<Samples> {
    let mut client = Client::connect(server.address).await?;
    client.start(id, kind, numbers).await?;
    let mut body = client::follow(server, id).await?;
    client.begin(id).await?;
    let mut samples = Samples::default();
    let mut frames = Frames::default();
    let mut ended = false;
    while let Some(piece) = client::piece(&mut body).await? {
        let now = now_ns();
        for event in frames.take(&piece)? {
            ended |= event["type"] == "exit";
            if event["type"] == "stdout" {
                stamps(&event["data"], now, &mut samples)?;
            }
        }
    }
    if !ended || samples.len() as u64 != numbers[0] {
        let count = samples.len();
        return Err(io::Error::other(format!("{kind}: {count} stamps arrived")));
    }
    Ok(samples)
}

fn stamps(data: &Value, now: u64, samples: &mut Samples) -> io::Result<()> {
    let text = data.as_str().unwrap_or_default();
    for stamp in text.split(['\n', '>', ' ']).filter(|part| !part.is_empty()) {
        let printed: u64 = stamp.parse().map_err(io::Error::other)?;
        samples.push_ns(now.saturating_sub(printed));
    }
    Ok(())
}

/// The same without a supervisor.
fn bare(numbers: &[u64]) -> io::Result<Samples> {
    let mut child = child::bare("stamps", numbers)?;
    let mut pipe = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
    let mut samples = Samples::default();
    let mut buffer = [0; 4096];
    loop {
        let count = pipe.read(&mut buffer)?;
        let now = now_ns();
        if count == 0 {
            child.wait()?;
            return Ok(samples);
        }
        let text = String::from_utf8_lossy(&buffer[..count]).into_owned();
        stamps(&Value::String(text), now, &mut samples)?;
    }
}
