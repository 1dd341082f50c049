//! Files of the workspace, one by one.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::Method;
use serde_json::json;

use crate::harness::{Answer, Supervisor, connect, eventually, request, set_mode, streamed};

const MIB: usize = 1 << 20;

async fn put(supervisor: &Supervisor, path: &str, bytes: impl Into<Bytes>) -> Answer {
    supervisor.send_bytes(Method::PUT, path, bytes).await
}

#[tokio::test]
async fn what_is_put_is_what_is_got() {
    let supervisor = Supervisor::start();
    let bytes: Vec<u8> = (0..=255).cycle().take(3 * MIB + 7).collect();
    let answer = put(&supervisor, "/file/workspace/a/b/c%20d", bytes.clone()).await;
    assert_eq!((answer.status, answer.json()), (200, json!({"ok": true})));
    let answer = supervisor.get("/file/workspace/a/b/c%20d").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.headers["content-type"], "application/octet-stream");
    assert_eq!(answer.headers["x-content-type-options"], "nosniff");
    assert_eq!(answer.headers["content-length"], bytes.len().to_string());
    assert!(answer.body == bytes);
    let answer = supervisor.delete("/file/workspace/a/b/c%20d").await;
    assert_eq!((answer.status, answer.body.len()), (204, 0));
    let answer = supervisor.get("/file/workspace/a/b/c%20d").await;
    assert_eq!(answer.code(), (404, "FILE_NOT_FOUND".into()));
    assert_eq!(answer.json()["context"]["path"], "/workspace/a/b/c d");
}

#[tokio::test]
async fn an_empty_file_is_a_file() {
    let supervisor = Supervisor::start();
    assert_eq!(
        put(&supervisor, "/file/workspace/empty", "").await.status,
        200
    );
    let answer = supervisor.get("/file/workspace/empty").await;
    assert_eq!((answer.status, answer.body.len()), (200, 0));
}

#[tokio::test]
async fn no_path_leaves_the_workspace() {
    let supervisor = Supervisor::start();
    let workspace = supervisor.workspace();
    fs::write(workspace.join("../secret"), "secret").unwrap();
    symlink("..", workspace.join("up")).unwrap();
    symlink("../secret", workspace.join("leak")).unwrap();
    symlink(workspace.join("../secret"), workspace.join("absolute")).unwrap();
    symlink("/proc/self", workspace.join("proc")).unwrap();
    for path in [
        "etc/passwd",
        "workspace/../secret",
        "workspace/%2e%2e/secret",
        "workspace%2f..%2fsecret",
        "workspace/a/../../secret",
        "workspace/up/secret",
        "workspace/proc/environ",
    ] {
        let route = format!("/file/{path}");
        let answer = supervisor.get(&route).await;
        let refused = answer.code();
        let denied = (403, "PERMISSION_DENIED".to_owned());
        // Where a part of the way is missing, the kernel says so before it sees where the way leads.
        let missing = (404, "FILE_NOT_FOUND".to_owned());
        assert!(
            refused == denied || path.contains("a/../..") && refused == missing,
            "{path}: {refused:?}"
        );
        assert_eq!(put(&supervisor, &route, "x").await.code().0, 403, "{path}");
        let status = supervisor.delete(&route).await.status;
        assert!(status == 403 || status == 404, "{path}");
    }
    for link in ["leak", "absolute"] {
        let route = format!("/file/workspace/{link}");
        assert_eq!(
            supervisor.get(&route).await.code(),
            (403, "PERMISSION_DENIED".into())
        );
    }
    assert_eq!(supervisor.get("/files/workspace/up").await.status, 403);
    assert_eq!(
        fs::read_to_string(workspace.join("../secret")).unwrap(),
        "secret"
    );
}

#[tokio::test]
async fn a_put_replaces_a_link_and_not_what_it_leads_to() {
    let supervisor = Supervisor::start();
    let workspace = supervisor.workspace();
    fs::write(workspace.join("../secret"), "secret").unwrap();
    symlink("../secret", workspace.join("link")).unwrap();
    assert_eq!(
        put(&supervisor, "/file/workspace/link", "mine")
            .await
            .status,
        200
    );
    assert_eq!(
        fs::read_to_string(workspace.join("../secret")).unwrap(),
        "secret"
    );
    assert_eq!(fs::read_to_string(workspace.join("link")).unwrap(), "mine");
    assert!(!workspace.join("link").is_symlink());
}

#[tokio::test]
async fn a_link_that_stays_inside_is_followed() {
    let supervisor = Supervisor::start();
    put(&supervisor, "/file/workspace/real/file", "here").await;
    symlink("real", supervisor.workspace().join("link")).unwrap();
    assert_eq!(
        supervisor.get("/file/workspace/link/file").await.body,
        "here"
    );
}

#[tokio::test]
async fn a_folder_or_a_fifo_is_no_file() {
    let supervisor = Supervisor::start();
    let workspace = supervisor.workspace();
    fs::create_dir(workspace.join("folder")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, workspace.join("fifo"), 0o644.into()).unwrap();
    let refused = (400, "VALIDATION_FAILED".to_owned());
    for path in [
        "/file/workspace",
        "/file/workspace/folder",
        "/file/workspace/fifo",
    ] {
        assert_eq!(supervisor.get(path).await.code(), refused, "{path}");
    }
    for path in [
        "/file/workspace",
        "/file/workspace/folder",
        "/file/workspace/new/",
    ] {
        assert_eq!(put(&supervisor, path, "x").await.code(), refused, "{path}");
        assert_eq!(supervisor.delete(path).await.code(), refused, "{path}");
    }
    assert_eq!(
        supervisor.get("/files/workspace/fifo").await.code(),
        refused
    );
}

#[tokio::test]
async fn a_put_keeps_the_mode_and_leaves_no_draft_behind() {
    let supervisor = Supervisor::start();
    let script = supervisor.workspace().join("script");
    fs::write(&script, "old").unwrap();
    set_mode(&script, 0o750);
    let inode = fs::metadata(&script).unwrap().ino();
    put(&supervisor, "/file/workspace/script", "new").await;
    let metadata = fs::metadata(&script).unwrap();
    assert_eq!(metadata.mode() & 0o7777, 0o750);
    assert_ne!(metadata.ino(), inode, "it is replaced, not written over");
    assert_eq!(fs::read_dir(supervisor.workspace()).unwrap().count(), 1);
}

#[tokio::test]
async fn an_upload_that_breaks_leaves_what_was_there() {
    let supervisor = Supervisor::start();
    put(&supervisor, "/file/workspace/a", "old").await;
    let (sender, body) = streamed();
    let upload = request(Method::PUT, "/file/workspace/a")
        .body(body)
        .unwrap();
    let (mut client, connection) = connect(&supervisor.socket()).await;
    let connection = tokio::spawn(connection);
    let answer = tokio::spawn(async move { client.send_request(upload).await });
    sender.send("new".into()).await.unwrap();
    let workspace = supervisor.workspace();
    let draft = move || fs::read_dir(&workspace).unwrap().count() == 2;
    eventually("a draft is there", &draft).await;
    connection.abort();
    assert!(answer.await.unwrap().is_err());
    eventually("the draft is gone", || !draft()).await;
    assert_eq!(supervisor.get("/file/workspace/a").await.body, "old");
}

#[tokio::test]
async fn a_folder_is_listed_with_what_its_names_are() {
    let supervisor = Supervisor::start();
    let workspace = supervisor.workspace();
    put(&supervisor, "/file/workspace/app/b.txt", "12345").await;
    fs::create_dir(workspace.join("app/a")).unwrap();
    set_mode(&workspace.join("app/a"), 0o700);
    set_mode(&workspace.join("app/b.txt"), 0o640);
    symlink("b.txt", workspace.join("app/c")).unwrap();
    let listing = supervisor.get("/files/workspace/app").await.json();
    assert_eq!(listing["path"], "/workspace/app");
    let entries = listing["entries"].as_array().unwrap();
    let field = |name: &str| entries.iter().map(|e| e[name].clone()).collect::<Vec<_>>();
    assert_eq!(field("name"), ["a", "b.txt", "c"]);
    assert_eq!(field("type"), ["directory", "file", "symlink"]);
    assert_eq!(field("mode")[..2], ["0700", "0640"]);
    assert_eq!(entries[1]["sizeBytes"], 5);
    assert_eq!(entries[2]["target"], "b.txt");
    assert!(entries[1].get("target").is_none());
    let year = entries[1]["modifiedAt"].as_str().unwrap()[..4].parse::<u32>();
    assert!(year.unwrap() >= 2024);
    assert_eq!(supervisor.get("/files/workspace/none").await.status, 404);
}

#[tokio::test]
async fn files_are_touched_with_the_rights_of_the_sandbox_user() {
    // Only root can be somebody else; anybody else is itself, and the same must hold.
    let root = rustix::process::geteuid().is_root();
    let user = if root { "nobody" } else { "" };
    let supervisor = Supervisor::start_with(&[("SANDBOX_USER", user)]);
    let workspace = supervisor.workspace();
    let uid = if root {
        65534
    } else {
        fs::metadata(&workspace).unwrap().uid()
    };
    std::os::unix::fs::chown(&workspace, Some(uid), None).unwrap();
    assert_eq!(
        put(&supervisor, "/file/workspace/new/file", "x")
            .await
            .status,
        200
    );
    for path in ["new", "new/file"] {
        assert_eq!(
            fs::metadata(workspace.join(path)).unwrap().uid(),
            uid,
            "{path}"
        );
    }
    fs::write(workspace.join("closed"), "secret").unwrap();
    set_mode(&workspace.join("closed"), 0o000);
    let denied = (403, "PERMISSION_DENIED".to_owned());
    let answer = supervisor.get("/file/workspace/closed").await;
    assert_eq!(answer.code(), denied);
    assert_eq!(answer.json()["context"]["errno"], "EACCES");
    // Nobody else in the supervisor has become that user meanwhile.
    assert_eq!(supervisor.get("/health").await.status, 200);
    let status = fs::read_to_string(format!("/proc/{}/status", supervisor.pid())).unwrap();
    let own = rustix::process::geteuid().as_raw().to_string();
    let ids = status
        .lines()
        .find(|line| line.starts_with("Uid:"))
        .unwrap();
    assert!(ids.split_whitespace().skip(1).all(|id| id == own), "{ids}");
}

#[tokio::test]
async fn a_large_file_passes_with_flat_memory() {
    let supervisor = Supervisor::start();
    let chunk = Bytes::from(vec![7; MIB]);
    let (sender, body) = streamed();
    let upload = request(Method::PUT, "/file/workspace/large")
        .body(body)
        .unwrap();
    put(&supervisor, "/file/workspace/small", "x").await;
    let before = supervisor.peak_memory();
    let feed = async {
        for _ in 0..100 {
            sender.send(chunk.clone()).await.unwrap();
        }
        drop(sender);
    };
    let (answer, ()) = tokio::join!(supervisor.send(upload), feed);
    assert_eq!(answer.status(), 200);
    let request = request(Method::GET, "/file/workspace/large");
    let mut answer = supervisor.send(request.body(String::new()).unwrap()).await;
    let mut length = 0;
    while let Some(frame) = answer.body_mut().frame().await {
        length += frame.unwrap().into_data().unwrap().len();
    }
    assert_eq!(length, 100 * MIB);
    let grown = supervisor.peak_memory() - before;
    assert!(grown < 8 * MIB as u64, "{grown} bytes more");
}
