//! What the supervisor runs while it is measured: this program again, printing in one of several ways.

use std::io::{self, Read, Write};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::samples::{Random, now_ns};

/// The length of a line of a flood, its line end included.
pub(crate) const LINE_BYTES: usize = 100;

/// How much a flood writes at once, as programs with a buffer do.
const WRITE_BYTES: usize = 64 << 10;

/// Runs the way of printing that is called `kind`. Each first waits for a byte on its standard input, so that
/// whoever measures is ready.
pub(crate) fn run(kind: &str, words: impl Iterator<Item = String>) -> io::Result<()> {
    let numbers: Vec<u64> = words
        .map(|word| word.parse().map_err(io::Error::other))
        .collect::<io::Result<_>>()?;
    io::stdin().read_exact(&mut [0])?;
    match (kind, numbers.as_slice()) {
        ("stamps", [count, interval_us]) => stamps(*count, *interval_us, "\n"),
        ("prompts", [count, interval_us]) => stamps(*count, *interval_us, "> "),
        ("flood", [bytes]) => flood(*bytes),
        ("random", [bytes]) => random(*bytes),
        _ => Err(io::Error::other(format!("no child {kind} {numbers:?}"))),
    }
}

/// The command line of a child.
pub(crate) fn argv(kind: &str, numbers: &[u64]) -> io::Result<Vec<String>> {
    let program = std::env::current_exe()?;
    let program = program.to_str().ok_or(io::ErrorKind::InvalidFilename)?;
    let words = [program, "child", kind].map(str::to_owned);
    let numbers = numbers.iter().map(u64::to_string);
    Ok(words.into_iter().chain(numbers).collect())
}

/// A child on bare pipes, for a yardstick; already told to begin.
pub(crate) fn bare(kind: &str, numbers: &[u64]) -> io::Result<std::process::Child> {
    let argv = argv(kind, numbers)?;
    let mut child = Command::new(&argv[0])
        .args(&argv[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut stdin = child.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
    stdin.write_all(b"!")?;
    Ok(child)
}

/// Prints what the clock says, `count` times, each in one write that ends in `end`.
fn stamps(count: u64, interval_us: u64, end: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for _ in 0..count {
        thread::sleep(Duration::from_micros(interval_us));
        let line = format!("{}{end}", now_ns());
        out.write_all(line.as_bytes())?;
        out.flush()?;
    }
    Ok(())
}

/// Prints `bytes` of lines as fast as it can.
fn flood(bytes: u64) -> io::Result<()> {
    let line = [b'x'; LINE_BYTES - 1];
    let mut lines = Vec::new();
    while lines.len() < WRITE_BYTES {
        lines.extend_from_slice(&line);
        lines.push(b'\n');
    }
    write_cyclic(&lines, bytes)
}

fn write_cyclic(piece: &[u8], bytes: u64) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let mut left = bytes;
    while left > 0 {
        let length = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        out.write_all(&piece[..length])?;
        left -= length as u64;
    }
    out.flush()
}

/// Prints `bytes` of [`Random`] on each of the two streams, turn by turn.
fn random(bytes: u64) -> io::Result<()> {
    let (mut first, mut second) = (Random::new(1), Random::new(2));
    let mut sizes = Random::new(3);
    let (mut out, mut err) = (io::stdout(), io::stderr());
    let mut left = bytes;
    while left > 0 {
        let length = left.min(1 + u64::from(sizes.byte()) * 31);
        let mut piece = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        first.fill(&mut piece);
        out.write_all(&piece)?;
        out.flush()?;
        second.fill(&mut piece);
        err.write_all(&piece)?;
        left -= length;
    }
    Ok(())
}
