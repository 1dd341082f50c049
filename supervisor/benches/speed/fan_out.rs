//! Many at once: fifty processes, each with a follower, each a line every five milliseconds.

use std::io;
use std::path::Path;

use futures_util::future::try_join_all;
use serde_json::json;

use crate::events::delays;
use crate::report::{Report, Row};
use crate::samples::Samples;
use crate::server::Server;

const PROCESSES: usize = 50;
/// How many lines each prints, and the pause before each in microseconds.
const LINES: [u64; 2] = [1000, 5000];

pub(crate) async fn measure(report: &mut Report, program: &Path) -> io::Result<()> {
    let server = Server::start(program)?;
    let server = &server;
    let follows = (0..PROCESSES)
        .map(async |number| delays(server, &format!("many-{number}"), "stamps", &LINES).await);
    let each = try_join_all(follows).await?;
    let all = Samples::of_all(each);
    let (p50, p99) = (all.percentile(50), all.percentile(99));
    report.add(Row {
        measure: "50 processes, 50 followers, 1,000 lines each in 5 s: p99",
        official: "33–64 / 104 ms",
        ours: format!("{p99:.2} ms"),
        yardstick: String::new(),
        goal: "≤ 10 ms",
        reached: p99 <= 10.0,
        numbers: json!({"p50Ms": p50, "p99Ms": p99}),
    });
    Ok(())
}
