//! Much output: 200 MB to one follower, the same read when it is kept, and bytes that are no text.

use std::io::{self, Read};
use std::path::Path;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::Method;
use serde_json::{Value, json};

use crate::child::{self, LINE_BYTES};
use crate::client::{self, Client, Frames};
use crate::report::{Report, Row};
use crate::samples::Random;
use crate::server::Server;

const FLOOD_BYTES: u64 = 200_000_000;
const RANDOM_BYTES: u64 = 8 << 20;

pub(crate) async fn measure(report: &mut Report, program: &Path) -> io::Result<()> {
    let server = Server::start(program)?;
    let bare = bare()?;
    followed(report, &server, bare).await?;
    kept(report, &server, bare).await?;
    random(report, &server).await
}

/// How fast the same flood comes through a bare pipe with one reader, in bytes a second.
fn bare() -> io::Result<f64> {
    let mut child = child::bare("flood", &[FLOOD_BYTES])?;
    let mut pipe = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
    let mut buffer = vec![0; 256 << 10];
    let mut total = pipe.read(&mut buffer)? as u64;
    let begun = Instant::now();
    loop {
        match pipe.read(&mut buffer)? {
            0 => break,
            count => total += count as u64,
        }
    }
    child.wait()?;
    if total != FLOOD_BYTES {
        return Err(io::Error::other(format!("the pipe passed {total} bytes")));
    }
    Ok(FLOOD_BYTES as f64 / begun.elapsed().as_secs_f64())
}

async fn followed(report: &mut Report, server: &Server, bare: f64) -> io::Result<()> {
    let mut client = Client::connect(server.address).await?;
    client.start("flood", "flood", &[FLOOD_BYTES]).await?;
    let mut body = client::follow(server, "flood").await?;
    client.begin("flood").await?;
    let mut lines = Lines::default();
    let mut begun = None;
    while let Some(piece) = client::piece(&mut body).await? {
        begun.get_or_insert_with(Instant::now);
        lines.take(&piece, b"\\n");
    }
    let begun = begun.ok_or(io::ErrorKind::UnexpectedEof)?;
    let rate = FLOOD_BYTES as f64 / begun.elapsed().as_secs_f64();
    lines.check()?;
    let memory = server.memory("VmHWM:")?;
    let megabytes = memory as f64 / 1e6;
    let ratio = rate / bare;
    report.add(Row {
        measure: "log to one follower, 200 MB of 100-byte lines",
        official: "150 MB/s, 1.06 GB · 1.8 MB/s, 2.97 GB",
        ours: format!("{:.0} MB/s ({ratio:.2} ×), {megabytes:.0} MB", rate / 1e6),
        yardstick: format!("{:.0} MB/s pipe", bare / 1e6),
        goal: "≥ 0.5 ×, under 48 MB",
        reached: ratio >= 0.5 && megabytes < 48.0,
        numbers: json!({
            "bytesPerSecond": rate, "yardstickBytesPerSecond": bare, "peakMemoryBytes": memory,
        }),
    });
    Ok(())
}

async fn kept(report: &mut Report, server: &Server, bare: f64) -> io::Result<()> {
    for (measure, accept, end) in [
        (
            "reading a kept log of 200 MB, as JSON",
            "application/json",
            b"\\n".as_slice(),
        ),
        ("reading a kept log of 200 MB, as text", "text/plain", b"\n"),
    ] {
        let mut client = Client::connect(server.address).await?;
        let begun = Instant::now();
        let answer = client.send(Method::GET, "/processes/flood/logs", accept, &Value::Null);
        let mut body = answer.await?.into_body();
        let mut lines = Lines::default();
        while let Some(piece) = client::piece(&mut body).await? {
            lines.take(&piece, end);
        }
        let seconds = begun.elapsed().as_secs_f64();
        lines.check()?;
        let memory = server.memory("VmHWM:")?;
        let megabytes = memory as f64 / 1e6;
        let rate = FLOOD_BYTES as f64 / seconds;
        let ratio = rate / bare;
        report.add(Row {
            measure,
            official: "1.4 s, 1.2 GB · out of memory",
            ours: format!("{seconds:.2} s ({ratio:.2} ×), {megabytes:.0} MB"),
            yardstick: format!("{:.0} MB/s pipe", bare / 1e6),
            goal: "≥ 0.5 ×, memory flat",
            reached: ratio >= 0.5 && megabytes < 48.0,
            numbers: json!({
                "bytesPerSecond": rate, "yardstickBytesPerSecond": bare, "peakMemoryBytes": memory,
            }),
        });
    }
    Ok(())
}

/// Counts line ends in pieces of a body, however it is cut.
#[derive(Debug, Default)]
struct Lines {
    count: u64,
    last: Option<u8>,
}

impl Lines {
    fn take(&mut self, piece: &[u8], end: &[u8]) {
        self.count += memchr::memmem::find_iter(piece, end).count() as u64;
        if let [first, second] = end
            && self.last == Some(*first)
            && piece.first() == Some(second)
        {
            self.count += 1;
        }
        self.last = piece.last().copied().or(self.last);
    }

    fn check(&self) -> io::Result<()> {
        if self.count == FLOOD_BYTES / LINE_BYTES as u64 {
            return Ok(());
        }
        let count = self.count;
        Err(io::Error::other(format!("{count} lines arrived")))
    }
}

async fn random(report: &mut Report, server: &Server) -> io::Result<()> {
    let mut client = Client::connect(server.address).await?;
    client.start("random", "random", &[RANDOM_BYTES]).await?;
    let mut body = client::follow(server, "random").await?;
    client.begin("random").await?;
    let mut frames = Frames::default();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    while let Some(piece) = client::piece(&mut body).await? {
        for event in frames.take(&piece)? {
            let stream = match event["type"].as_str() {
                Some("stdout") => &mut out,
                Some("stderr") => &mut err,
                _ => continue,
            };
            let data = event["data"].as_str().unwrap_or_default();
            if event["encoding"] == "base64" {
                let bytes = STANDARD.decode(data);
                let bytes = bytes.map_err(|error| io::Error::other(error.to_string()))?;
                stream.extend_from_slice(&bytes);
            } else {
                stream.extend_from_slice(data.as_bytes());
            }
        }
    }
    let length = usize::try_from(RANDOM_BYTES).map_err(io::Error::other)?;
    let mut wanted = vec![0; length];
    let mut identical = true;
    for (seed, got) in [(1, &out), (2, &err)] {
        Random::new(seed).fill(&mut wanted);
        identical &= got == &wanted;
    }
    report.add(Row {
        measure: "random bytes through the log, 8 MiB a stream",
        official: "corrupted in both",
        ours: if identical { "identical" } else { "CORRUPTED" }.to_owned(),
        yardstick: String::new(),
        goal: "identical",
        reached: identical,
        numbers: json!({"identical": identical, "bytes": 2 * RANDOM_BYTES}),
    });
    Ok(())
}
