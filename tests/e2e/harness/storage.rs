//! What workerd stored of an object, read and written past it: no request, nothing is woken by looking.

use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

const NODE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/node_modules/.bin/node");

/// The rows that `sql` gives; none where the object has stored nothing.
pub(super) fn query(database: &Path, sql: &str) -> Vec<Value> {
    if !database.exists() {
        return Vec::new();
    }
    let script = "const { DatabaseSync } = require('node:sqlite');
        const [path, sql] = process.argv.slice(1);
        const db = new DatabaseSync(path, { timeout: 5000 });
        console.log(JSON.stringify(db.prepare(sql).all()));";
    let output = Command::new(NODE)
        .args(["--no-warnings", "-e", script])
        .arg(database)
        .arg(sql)
        .output()
        .expect("`make setup` has run");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{sql}: {errors}");
    serde_json::from_slice(&output.stdout).expect("rows as JSON")
}

/// Databases that cannot be written until this is dropped.
pub(crate) struct Locked {
    process: Child,
    /// Its end is the order to let go.
    hold: Option<ChildStdin>,
}

impl Locked {
    pub(super) fn lock(databases: &[PathBuf]) -> Self {
        let script = "const { DatabaseSync } = require('node:sqlite');
            const locked = process.argv.slice(1).map((path) => {
                const db = new DatabaseSync(path, { timeout: 10000 });
                db.exec('BEGIN EXCLUSIVE');
                return db;
            });
            console.log('locked');
            process.stdin.on('end', () => { for (const db of locked) db.exec('ROLLBACK'); }).resume();";
        let mut process = Command::new(NODE)
            .args(["--no-warnings", "-e", script])
            .args(databases)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("`make setup` has run");
        let stdout = process.stdout.take().expect("it is piped");
        let said = BufReader::new(stdout).lines().next();
        assert!(matches!(said, Some(Ok(line)) if line == "locked"));
        let hold = process.stdin.take();
        Self { process, hold }
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        drop(self.hold.take());
        let ended = self.process.wait().expect("our child");
        assert!(ended.success() || std::thread::panicking(), "{ended}");
    }
}
