//! One-time commands and kills, beside a bare `bash -c true` that is spawned and waited for.

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use futures_util::future::try_join_all;
use hyper::Method;
use serde_json::{Value, json};

use crate::client::Client;
use crate::report::{Report, Row};
use crate::samples::Samples;
use crate::server::Server;

/// How many commands one client runs.
const ALONE: usize = 500;
/// How many clients run commands at the same time, and how many each.
const CLIENTS: usize = 16;
const EACH: usize = 150;
/// How many processes are killed.
const KILLS: usize = 100;

pub(crate) async fn measure(report: &mut Report, program: &Path) -> io::Result<()> {
    let server = Server::start(program)?;
    alone(report, &server).await?;
    together(report, &server).await?;
    kills(report, &server).await
}

async fn execute(client: &mut Client) -> io::Result<()> {
    let answer = client
        .call(Method::POST, "/exec", &json!({"command": "true"}))
        .await?;
    if answer["exitCode"] == 0 {
        return Ok(());
    }
    Err(io::Error::other(format!("exec of true: {answer}")))
}

async fn alone(report: &mut Report, server: &Server) -> io::Result<()> {
    let mut client = Client::connect(server.address).await?;
    let (mut ours, mut bare) = (Samples::default(), Samples::default());
    // Turn by turn, so that both meet the same machine.
    for _ in 0..ALONE {
        let begun = Instant::now();
        execute(&mut client).await?;
        ours.push(begun.elapsed());
        let begun = Instant::now();
        Command::new("bash")
            .args(["-c", "true"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()?;
        bare.push(begun.elapsed());
    }
    let (p50, p99) = (ours.percentile(50), ours.percentile(99));
    let (bare50, bare99) = (bare.percentile(50), bare.percentile(99));
    let (ratio50, ratio99) = (p50 / bare50, p99 / bare50);
    report.add(Row {
        measure: "exec of true by bash -c, one client, p50 / p99",
        official: "2.5 / 6.7 ms · 7.8 / 52.6 ms",
        ours: format!("{p50:.2} / {p99:.2} ms ({ratio50:.2} × / {ratio99:.2} ×)"),
        yardstick: format!("{bare50:.2} / {bare99:.2} ms spawn"),
        goal: "≤ 1.6 × / ≤ 3 ×",
        reached: ratio50 <= 1.6 && ratio99 <= 3.0,
        numbers: json!({
            "p50Ms": p50, "p99Ms": p99, "yardstickP50Ms": bare50, "yardstickP99Ms": bare99,
        }),
    });
    Ok(())
}

async fn together(report: &mut Report, server: &Server) -> io::Result<()> {
    let clients = (0..CLIENTS).map(|_| Client::connect(server.address));
    let clients = try_join_all(clients).await?;
    let begun = Instant::now();
    let runs = clients.into_iter().map(async |mut client| {
        for _ in 0..EACH {
            execute(&mut client).await?;
        }
        io::Result::Ok(())
    });
    try_join_all(runs).await?;
    let rate = (CLIENTS * EACH) as f64 / begun.elapsed().as_secs_f64();
    report.add(Row {
        measure: "exec, 16 clients",
        official: "780–840 / 70 a second",
        ours: format!("{rate:.0} a second"),
        yardstick: String::new(),
        goal: "≥ 1,400 a second",
        reached: rate >= 1400.0,
        numbers: json!({"requestsPerSecond": rate}),
    });
    Ok(())
}

async fn kills(report: &mut Report, server: &Server) -> io::Result<()> {
    let mut client = Client::connect(server.address).await?;
    let mut took = Samples::default();
    for number in 0..KILLS {
        let id = format!("sleeper-{number}");
        let body = json!({"id": id, "argv": ["sleep", "1000"]});
        client.call(Method::POST, "/processes", &body).await?;
        let begun = Instant::now();
        let path = format!("/processes/{id}/kill");
        let receipt = client.call(Method::POST, &path, &json!({})).await?;
        took.push(begun.elapsed());
        let gone = receipt["survivors"] == Value::Array(Vec::new());
        if !gone || receipt["process"]["status"] != "killed" {
            return Err(io::Error::other(format!("not killed: {receipt}")));
        }
    }
    let p50 = took.percentile(50);
    report.add(Row {
        measure: "kill of a sleeping process, p50",
        official: "52 ms",
        ours: format!("{p50:.2} ms"),
        yardstick: String::new(),
        goal: "≤ 5 ms, proven gone",
        reached: p50 <= 5.0,
        numbers: json!({"p50Ms": p50, "p99Ms": took.percentile(99)}),
    });
    Ok(())
}
