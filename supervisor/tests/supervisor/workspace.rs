//! The workspace as a tar stream, in and out.

use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, symlink};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::Method;
use serde_json::json;
use tar::{Builder, EntryType, Header};

use crate::harness::{Answer, Supervisor, request, set_mode, streamed};

const MTIME: u64 = 1_700_000_000;

async fn hydrate(supervisor: &Supervisor, archive: impl Into<Bytes>) -> Answer {
    supervisor
        .send_bytes(Method::POST, "/hydrate", archive)
        .await
}

fn header(kind: EntryType, mode: u32, size: usize) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_mtime(MTIME);
    header.set_size(size as u64);
    header
}

/// An archive in the making; paths are written as they are, however bad.
struct Tar(Builder<Vec<u8>>);

impl Tar {
    fn new() -> Self {
        Self(Builder::new(Vec::new()))
    }

    fn member(mut self, kind: EntryType, path: &str, mode: u32, data: &str, link: &str) -> Self {
        let mut header = header(kind, mode, data.len());
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_cksum();
        self.0.append(&header, data.as_bytes()).unwrap();
        self
    }

    fn file(self, path: &str, data: &str) -> Self {
        self.member(EntryType::Regular, path, 0o644, data, "")
    }

    fn link(self, path: &str, target: &str) -> Self {
        self.member(EntryType::Symlink, path, 0o777, "", target)
    }

    fn bytes(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}

#[tokio::test]
async fn an_archive_becomes_the_workspace() {
    let supervisor = Supervisor::start();
    let long = format!("deep/{}/{}", "d".repeat(120), "f".repeat(150));
    let mut tar = Tar::new()
        .member(EntryType::Directory, "./", 0o755, "", "")
        .member(EntryType::Directory, "closed/", 0o555, "", "")
        .file("closed/in", "in")
        .member(EntryType::Regular, "bin/run", 0o6755, "#!/bin/sh", "")
        .link("bin/link", "../closed/in")
        .member(EntryType::Link, "bin/hard", 0o644, "", "bin/run")
        .file("./dotted//path", "dots");
    let mut head = header(EntryType::Regular, 0o600, 4);
    tar.0.append_data(&mut head, &long, &b"long"[..]).unwrap();
    let answer = hydrate(&supervisor, tar.bytes()).await;
    assert_eq!((answer.status, answer.json()), (200, json!({"ok": true})));
    let workspace = supervisor.workspace();
    let read = |path: &str| fs::read_to_string(workspace.join(path)).unwrap();
    assert_eq!(read("closed/in"), "in");
    assert_eq!(read("bin/link"), "in");
    assert_eq!(read("bin/hard"), "#!/bin/sh");
    assert_eq!(read("dotted/path"), "dots");
    assert_eq!(read(&long), "long");
    let metadata = |path: &str| fs::symlink_metadata(workspace.join(path)).unwrap();
    assert_eq!(
        metadata("bin/run").mode() & 0o7777,
        0o755,
        "setuid and setgid are gone"
    );
    assert_eq!(metadata("closed").mode() & 0o7777, 0o555);
    for path in ["bin/run", "closed", "bin/link", &long] {
        assert_eq!(metadata(path).mtime(), 1_700_000_000, "{path}");
    }
}

#[tokio::test]
async fn an_archive_made_by_python_is_read() {
    let supervisor = Supervisor::start();
    for format in ["PAX_FORMAT", "GNU_FORMAT", "USTAR_FORMAT"] {
        let script = format!(
            "import io, sys, tarfile
tar = tarfile.open(fileobj=sys.stdout.buffer, mode='w|', format=tarfile.{format})
member = tarfile.TarInfo('{format}/' + 'é' * 40)
member.size = 6
tar.addfile(member, io.BytesIO(b'python'))
tar.close()"
        );
        let made = std::process::Command::new("python3")
            .args(["-c", &script])
            .output()
            .unwrap();
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stderr)
        );
        assert_eq!(
            hydrate(&supervisor, made.stdout).await.status,
            200,
            "{format}"
        );
        let path = format!("{format}/{}", "é".repeat(40));
        assert_eq!(
            fs::read(supervisor.workspace().join(path)).unwrap(),
            b"python"
        );
    }
}

#[tokio::test]
async fn a_member_that_does_not_belong_is_refused_by_name() {
    let supervisor = Supervisor::start();
    let workspace = supervisor.workspace();
    fs::create_dir(workspace.join("../outside")).unwrap();
    let bad = [
        (
            "/etc/evil",
            Tar::new().file("good", "1").file("/etc/evil", "x"),
        ),
        ("../evil", Tar::new().file("good", "1").file("../evil", "x")),
        (
            "a/../../evil",
            Tar::new().file("good", "1").file("a/../../evil", "x"),
        ),
        (
            "null",
            Tar::new()
                .file("good", "1")
                .member(EntryType::Char, "null", 0o666, "", ""),
        ),
        (
            "disk",
            Tar::new()
                .file("good", "1")
                .member(EntryType::Block, "disk", 0o666, "", ""),
        ),
        (
            "fifo",
            Tar::new()
                .file("good", "1")
                .member(EntryType::Fifo, "fifo", 0o666, "", ""),
        ),
        (
            "out",
            Tar::new().file("good", "1").link("out", "../outside"),
        ),
        ("abs", Tar::new().file("good", "1").link("abs", "/etc")),
        (
            "hard",
            Tar::new().file("good", "1").member(
                EntryType::Link,
                "hard",
                0o644,
                "",
                "../../etc/passwd",
            ),
        ),
        (
            "habs",
            Tar::new()
                .file("good", "1")
                .member(EntryType::Link, "habs", 0o644, "", "/etc/passwd"),
        ),
    ];
    for (member, tar) in bad {
        let answer = hydrate(&supervisor, tar.file("never", "x").bytes()).await;
        assert_eq!(answer.code(), (400, "VALIDATION_FAILED".into()), "{member}");
        let context = &answer.json()["context"];
        assert_eq!(context["path"], member);
        assert_eq!(context["writtenMembers"], 1, "{member}");
        assert!(answer.json()["error"].as_str().unwrap().contains(member));
    }
    let names = fs::read_dir(&workspace).unwrap().count();
    assert_eq!(names, 1, "only the good one is there");
}

#[tokio::test]
async fn a_link_does_not_lead_a_member_out() {
    let supervisor = Supervisor::start();
    let workspace = supervisor.workspace();
    fs::create_dir(workspace.join("../outside")).unwrap();
    // A link that a process made, so that nobody judged it.
    symlink("../outside", workspace.join("out")).unwrap();
    let answer = hydrate(&supervisor, Tar::new().file("out/evil", "x").bytes()).await;
    assert_eq!(answer.code(), (403, "PERMISSION_DENIED".into()));
    assert_eq!(answer.json()["context"]["path"], "out/evil");
    let hard = Tar::new().member(EntryType::Link, "hard", 0o644, "", "out/evil");
    assert_eq!(hydrate(&supervisor, hard.bytes()).await.code().0, 403);
    // Words that stay inside, over a link that makes them leave.
    let twisted = Tar::new()
        .link("leave", "twist/../outside")
        .link("twist", ".");
    let answer = hydrate(&supervisor, twisted.bytes()).await;
    assert_eq!(answer.code(), (400, "VALIDATION_FAILED".into()));
    assert_eq!(answer.json()["context"]["path"], "leave");
    assert!(!workspace.join("leave").is_symlink());
    assert_eq!(
        fs::read_dir(workspace.join("../outside")).unwrap().count(),
        0
    );
    // A member in the place of a link replaces the link.
    assert_eq!(
        hydrate(&supervisor, Tar::new().file("out", "mine").bytes())
            .await
            .status,
        200
    );
    assert_eq!(fs::read_to_string(workspace.join("out")).unwrap(), "mine");
}

#[tokio::test]
async fn an_archive_that_is_not_whole_is_refused() {
    let supervisor = Supervisor::start();
    let whole = Tar::new()
        .file("a", &"x".repeat(2000))
        .file("b", "y")
        .bytes();
    let refused = (400, "VALIDATION_FAILED".to_owned());
    // In a header, in the data, between two members, before the end mark.
    for (length, written) in [(0, 0), (100, 0), (1000, 0), (2560, 1), (3584, 2)] {
        let answer = hydrate(&supervisor, whole[..length].to_vec()).await;
        assert_eq!(answer.code(), refused, "{length}");
        assert_eq!(
            answer.json()["context"]["writtenMembers"],
            written,
            "{length}"
        );
    }
    let answer = hydrate(&supervisor, "no archive at all, ".repeat(100)).await;
    assert_eq!(answer.code(), refused);
    assert_eq!(hydrate(&supervisor, whole).await.status, 200);
}

#[tokio::test]
async fn what_is_persisted_hydrates_to_the_same() {
    let one = Supervisor::start();
    let other = Supervisor::start();
    let workspace = one.workspace();
    let long = format!("{}/{}", "d".repeat(120), "f".repeat(200));
    for (path, data) in [
        ("app/src/main.js", "code"),
        ("node_modules/a/b", "dep"),
        ("app/.git/HEAD", "ref"),
        (&long, "long"),
        ("empty", ""),
    ] {
        fs::create_dir_all(workspace.join(path).parent().unwrap()).unwrap();
        fs::write(workspace.join(path), data).unwrap();
    }
    symlink("src/main.js", workspace.join("app/link")).unwrap();
    set_mode(&workspace.join("app/src/main.js"), 0o755);
    rustix::fs::mkfifoat(rustix::fs::CWD, workspace.join("fifo"), 0o644.into()).unwrap();
    let archive = one
        .send_bytes(
            Method::POST,
            "/persist?excludes=node_modules,app%2F.git",
            "",
        )
        .await;
    assert_eq!(
        (archive.status, &archive.headers["content-type"]),
        (200, &"application/x-tar".parse().unwrap())
    );
    assert_eq!(hydrate(&other, archive.body).await.status, 200);
    let copy = other.workspace();
    assert_eq!(fs::read_to_string(copy.join("app/link")).unwrap(), "code");
    assert_eq!(fs::read_to_string(copy.join(&long)).unwrap(), "long");
    assert_eq!(
        fs::metadata(copy.join("app/src/main.js")).unwrap().mode() & 0o777,
        0o755
    );
    for path in ["app/src/main.js", "app/src", "empty"] {
        let mtime = |root: &std::path::Path| fs::metadata(root.join(path)).unwrap().mtime();
        assert_eq!(mtime(&workspace), mtime(&copy), "{path}");
    }
    for absent in ["node_modules", "app/.git", "fifo"] {
        assert!(!copy.join(absent).exists(), "{absent}");
    }
    // Python reads it as well.
    let mut python = std::process::Command::new("python3")
        .args(["-c", "import sys, tarfile; print(len(tarfile.open(fileobj=sys.stdin.buffer, mode='r|').getmembers()))"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let archive = one.send_bytes(Method::POST, "/persist", "").await.body;
    std::io::Write::write_all(&mut python.stdin.take().unwrap(), &archive).unwrap();
    let mut members = String::new();
    python
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut members)
        .unwrap();
    python.wait().unwrap();
    assert_eq!(members.trim(), "12");
}

#[tokio::test]
async fn a_large_workspace_passes_in_and_out_with_flat_memory() {
    let supervisor = Supervisor::start();
    hydrate(&supervisor, Tar::new().file("small", "x").bytes()).await;
    let before = supervisor.peak_memory();
    let (sender, body) = streamed();
    let upload = request(Method::POST, "/hydrate").body(body).unwrap();
    let feed = async {
        let chunk = Bytes::from(vec![7; 1 << 20]);
        for member in 0..4 {
            let mut header = header(EntryType::Regular, 0o644, 25 << 20);
            header.set_path(format!("large{member}")).unwrap();
            header.set_cksum();
            sender
                .send(header.as_bytes().to_vec().into())
                .await
                .unwrap();
            for _ in 0..25 {
                sender.send(chunk.clone()).await.unwrap();
            }
        }
        sender.send(vec![0; 1024].into()).await.unwrap();
        drop(sender);
    };
    let (answer, ()) = tokio::join!(supervisor.send(upload), feed);
    assert_eq!(answer.status(), 200);
    let persist = request(Method::POST, "/persist")
        .body(String::new())
        .unwrap();
    let mut answer = supervisor.send(persist).await;
    let mut length = 0;
    while let Some(frame) = answer.body_mut().frame().await {
        length += frame.unwrap().into_data().unwrap().len();
    }
    assert!(length > 100 << 20, "{length}");
    let grown = supervisor.peak_memory() - before;
    assert!(grown < 8 << 20, "{grown} bytes more");
}
