//! Files of the workspace through Worker, object and supervisor.

use futures::StreamExt;
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Dev, Sandbox, Setup, eventually};
use std::time::Duration;

const MIB: u64 = 1 << 20;
const LARGE: u64 = 1 << 30;

/// Runs a command in the sandbox; what it printed.
async fn sh(sandbox: &Sandbox<'_>, command: &str) -> String {
    let call = sandbox.post("exec").header("Accept", "application/json");
    let answer = call.json(&json!({"command": command})).send().await;
    let result = answer.json().await;
    assert_eq!(result["exitCode"], 0, "{command}: {result}");
    result["stdout"].as_str().expect("a string").to_owned()
}

#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn a_file_is_put_listed_got_run_and_deleted() {
    let sandbox = Dev::shared().sandbox();
    let bytes: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    let put = sandbox
        .put("file/workspace/app/a%20b/c")
        .body(bytes.clone());
    assert_eq!(put.send().await.json().await, json!({"ok": true}));
    sh(
        &sandbox,
        "cd app && ln -s a\\ b/c link && chmod 640 a\\ b/c && mkfifo pipe && mkdir z",
    )
    .await;

    let got = sandbox.get("file/workspace/app/a%20b/c").send().await;
    assert_eq!(got.status(), 200);
    assert_eq!(got.header("Content-Type"), "application/octet-stream");
    assert_eq!(got.header("X-Content-Type-Options"), "nosniff");
    assert!(got.bytes().await == bytes, "what was put is what is got");
    let linked = sandbox.get("file/workspace/app/link").send().await;
    assert!(
        linked.bytes().await == bytes,
        "a link that stays inside leads there"
    );

    let listing = sandbox.get("files/workspace/app").send().await.json().await;
    assert_eq!(listing["path"], "/workspace/app");
    let entries = listing["entries"].as_array().expect("a list");
    let field = |name: &str| entries.iter().map(|e| e[name].clone()).collect::<Vec<_>>();
    assert_eq!(field("name"), ["a b", "link", "pipe", "z"]);
    assert_eq!(
        field("type"),
        ["directory", "symlink", "other", "directory"]
    );
    assert_eq!(entries[1]["target"], "a b/c");
    let inner = sandbox.get("files/workspace/app/a%20b").send().await;
    let inner = inner.json().await["entries"][0].clone();
    let modified = inner["modifiedAt"].as_str().expect("a time");
    let shape = json!({"name": "c", "type": "file", "sizeBytes": 300_000, "mode": "0640", "modifiedAt": modified});
    assert_eq!(inner, shape);

    let deleted = sandbox.delete("file/workspace/app/a%20b/c").send().await;
    assert_eq!(deleted.status(), 204);
    let gone = sandbox.get("file/workspace/app/a%20b/c").send().await;
    assert_eq!(gone.status(), 404);
    assert_eq!(gone.json().await["code"], "FILE_NOT_FOUND");
    assert_eq!(sandbox.delete("").send().await.status(), 204);
}

#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn no_path_and_no_link_leads_out_of_the_workspace_and_nothing_is_written_there() {
    let sandbox = Dev::shared().sandbox();
    let links = "ln -s / root; ln -s .. up; ln -s /tmp/outside file; ln -s /proc/self proc; echo secret >/tmp/outside";
    sh(&sandbox, links).await;
    // What a client normalizes (`..`, `%2e%2e`) arrives as another path, which is outside as well.
    let paths = [
        "workspace/../tmp/outside",
        "workspace/%2e%2e/tmp/outside",
        "workspace%2f..%2ftmp%2foutside",
        "workspace/..%2ftmp/outside",
        "workspace/.%2e%2ftmp%2foutside",
        "tmp/outside",
        "/tmp/outside",
        "%2ftmp%2foutside",
        "workspace/root/tmp/outside",
        "workspace/up/tmp/outside",
        "workspace/proc/root/tmp/outside",
    ];
    for path in paths {
        let route = format!("file/{path}");
        for call in [
            sandbox.get(&route),
            sandbox.put(&route).body("mine"),
            sandbox.delete(&route),
        ] {
            let answer = call.send().await;
            assert_eq!(answer.status(), 403, "{path}");
            assert_eq!(answer.json().await["code"], "PERMISSION_DENIED", "{path}");
        }
        let folder = path.replace("outside", "");
        let listed = sandbox.get(&format!("files/{folder}")).send().await;
        assert_eq!(listed.status(), 403, "{folder}");
    }
    let through = sandbox.get("file/workspace/file").send().await;
    assert_eq!(through.status(), 403, "a link to a file outside");
    let put = sandbox.put("file/workspace/file").body("mine").send().await;
    assert_eq!(
        put.status(),
        200,
        "a put replaces the link, not what it leads to"
    );
    assert_eq!(
        sh(&sandbox, "cat /tmp/outside; cat file").await,
        "secret\nmine"
    );
    let upward = sandbox
        .put("file/workspace/new/%2e%2e%2f..%2ftmp/made")
        .body("mine")
        .send()
        .await;
    assert_eq!(upward.status(), 403);
    sh(&sandbox, "test ! -e /tmp/made").await;
    assert_eq!(sandbox.delete("").send().await.status(), 204);
}

#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn a_file_is_replaced_whole_or_not_at_all() {
    let dev = Dev::shared();
    let sandbox = dev.sandbox();
    let put = sandbox.put("file/workspace/a").body("old").send().await;
    assert_eq!(put.status(), 200);
    let mut upload = begin_upload(dev, &sandbox.path("file/workspace/a"), 3 * MIB).await;
    upload.write_all(&vec![b'n'; 2 << 20]).await.unwrap();
    // The draft is there, under a name of its own; the file is what it was.
    let drafts = "while ! ls -A | grep -q '^.upload-'; do sleep .05; done; cat a";
    assert_eq!(sh(&sandbox, drafts).await, "old");
    drop(upload);
    let gone = "while ls -A | grep -q '^.upload-'; do sleep .05; done; ls -A; cat a";
    assert_eq!(
        sh(&sandbox, gone).await,
        "a\nold",
        "an upload that breaks leaves nothing"
    );
    assert_eq!(sandbox.delete("").send().await.status(), 204);
}

/// Sends the head of a `PUT` of `length` bytes.
async fn begin_upload(dev: &Dev, path: &str, length: u64) -> TcpStream {
    let mut line = dev.connect().await;
    let head = format!(
        "PUT {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
    );
    line.write_all(head.as_bytes()).await.unwrap();
    line
}

/// A MiB in which nothing repeats.
fn noise() -> Vec<u8> {
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    let word = |_| {
        // xorshift64
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..MIB / 8).flat_map(word).collect()
}

/// The memory of the server while something passes through it, beyond what it had before.
struct Peak<'a> {
    dev: &'a Dev,
    sandbox: &'a Sandbox<'a>,
    before: u64,
    workerd: u64,
    supervisor: u64,
}

impl<'a> Peak<'a> {
    fn new(dev: &'a Dev, sandbox: &'a Sandbox<'a>) -> Self {
        let before = dev.workerd_memory();
        Self {
            dev,
            sandbox,
            before,
            workerd: before,
            supervisor: 0,
        }
    }

    fn look(&mut self) {
        self.workerd = self.workerd.max(self.dev.workerd_memory());
        let supervisor = self.sandbox.supervisor_memory().unwrap_or(0);
        self.supervisor = self.supervisor.max(supervisor);
    }

    fn assert_flat(&self, what: &str) {
        let grown = self.workerd.saturating_sub(self.before) / MIB;
        let supervisor = self.supervisor / MIB;
        println!(
            "{what}: workerd grew by {grown} MiB, the supervisor had {supervisor} MiB at most"
        );
        assert!(grown < 150, "{what}: workerd grew by {grown} MiB");
        assert!(
            supervisor < 48,
            "{what}: the supervisor had {supervisor} MiB"
        );
    }
}

#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn a_gigabyte_goes_up_and_comes_down_whole_in_flat_memory() {
    let dev = Dev::start(&Setup::DEFAULT);
    let sandbox = dev.sandbox();
    sh(&sandbox, "true").await;
    let mut peak = Peak::new(&dev, &sandbox);
    let sent = upload(&dev, &sandbox.path("file/workspace/large"), &mut peak).await;
    peak.assert_flat("up");
    let hashed = sh(&sandbox, "sha256sum large").await;
    assert_eq!(
        hashed,
        format!("{sent}  large\n"),
        "what arrived is what was sent"
    );

    let mut peak = Peak::new(&dev, &sandbox);
    let answer = sandbox.get("file/workspace/large").send().await;
    let mut chunks = Box::pin(answer.chunks());
    let (mut got, mut length, mut looked) = (Sha256::new(), 0, 0);
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.expect("the body arrives whole");
        got.update(&chunk);
        length += chunk.len() as u64;
        if length - looked > 32 * MIB {
            looked = length;
            peak.look();
        }
    }
    assert_eq!(length, LARGE);
    assert_eq!(hex(got), sent, "what came down is what is there");
    peak.assert_flat("down");
    assert_eq!(sandbox.delete("").send().await.status(), 204);
    let gone = || sandbox.remains().is_empty().then_some(());
    eventually(Duration::from_secs(20), "the end of the sandbox", gone).await;
}

/// Uploads a gigabyte, each MiB of it another; its hash.
async fn upload(dev: &Dev, path: &str, peak: &mut Peak<'_>) -> String {
    let mut line = begin_upload(dev, path, LARGE).await;
    let (mut piece, mut hash) = (noise(), Sha256::new());
    for number in 0..LARGE / MIB {
        piece[..8].copy_from_slice(&number.to_le_bytes());
        hash.update(&piece);
        line.write_all(&piece).await.expect("it is taken");
        if number % 32 == 0 {
            peak.look();
        }
    }
    let mut answer = String::new();
    line.read_to_string(&mut answer).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    hex(hash)
}

/// The hash as `sha256sum` prints it.
fn hex(hash: Sha256) -> String {
    let bytes = hash.finalize();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
