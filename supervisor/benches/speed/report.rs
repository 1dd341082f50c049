//! The table and the JSON of a run.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use serde_json::{Value, json};

/// What is told of one measure.
#[derive(Debug)]
pub(crate) struct Row {
    /// What was measured.
    pub(crate) measure: &'static str,
    /// What Cloudflare's container server 0.12.7 does: its faster mode, its default mode.
    pub(crate) official: &'static str,
    /// What the supervisor does.
    pub(crate) ours: String,
    /// What the machine does without it.
    pub(crate) yardstick: String,
    /// What is wanted.
    pub(crate) goal: &'static str,
    /// Whether it was reached.
    pub(crate) reached: bool,
    /// The same numbers for a program.
    pub(crate) numbers: Value,
}

/// The rows of a run.
#[derive(Debug, Default)]
pub(crate) struct Report(Vec<Row>);

impl Report {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds a row, and shows it at once: a run takes a minute.
    pub(crate) fn add(&mut self, row: Row) {
        let mark = if row.reached { "reached" } else { "MISSED" };
        eprintln!("{}: {} ({mark})", row.measure, row.ours);
        self.0.push(row);
    }

    /// Prints the table, as Markdown.
    pub(crate) fn print(&self) {
        let head = [
            "measure",
            "official, faster / default",
            "yardstick",
            "here",
            "goal",
            "",
        ];
        let mut rows = vec![head.map(str::to_owned)];
        for row in &self.0 {
            let mark = if row.reached { "reached" } else { "MISSED" };
            rows.push([
                row.measure.to_owned(),
                row.official.to_owned(),
                row.yardstick.clone(),
                row.ours.clone(),
                row.goal.to_owned(),
                mark.to_owned(),
            ]);
        }
        let widths: Vec<usize> = (0..head.len())
            .map(|column| rows.iter().map(|row| row[column].chars().count()).max())
            .map(Option::unwrap_or_default)
            .collect();
        let rule = widths.iter().map(|width| "-".repeat(*width));
        println!("{}", line(&rows[0], &widths));
        println!("{}", line(&rule.collect::<Vec<_>>(), &widths));
        for row in &rows[1..] {
            println!("{}", line(row, &widths));
        }
    }

    /// Writes the numbers to `path`.
    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        let rows: Vec<Value> = self
            .0
            .iter()
            .map(|row| {
                json!({
                    "measure": row.measure,
                    "goal": row.goal,
                    "reached": row.reached,
                    "numbers": row.numbers,
                })
            })
            .collect();
        let cores = std::thread::available_parallelism()?.get();
        let text = serde_json::to_string_pretty(&json!({"cores": cores, "measures": rows}))?;
        std::fs::write(path, text + "\n")
    }
}

fn line(cells: &[String], widths: &[usize]) -> String {
    cells
        .iter()
        .zip(widths)
        .fold(String::from("|"), |mut line, (cell, width)| {
            // Writing to a string cannot fail.
            let _ = write!(line, " {cell:width$} |");
            line
        })
}
