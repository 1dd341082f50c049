//! The token, and what is refused before a route is reached.

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Request};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::harness::{Answer, Supervisor, TOKEN, request};

#[tokio::test]
async fn nothing_answers_without_the_token() {
    let supervisor = Supervisor::start();
    let wrong = format!("Bearer {TOKEN}x");
    for path in ["/health", "/limits", "/nowhere"] {
        for authorization in [None, Some("Bearer "), Some(wrong.as_str()), Some(TOKEN)] {
            let mut request = Request::get(path).header("host", "x");
            if let Some(authorization) = authorization {
                request = request.header("authorization", authorization);
            }
            let request = request.body(Full::<Bytes>::default()).unwrap();
            let answer = Answer::read(supervisor.send(request).await).await;
            assert_eq!(answer.code(), (401, "UNAUTHORIZED".into()), "{path}");
        }
    }
}

#[tokio::test]
async fn health_tells_the_boot_and_nothing_else() {
    let (one, other) = (Supervisor::start(), Supervisor::start());
    let health = one.get("/health").await.json();
    let boot = health["bootId"].as_str().unwrap();
    assert_eq!(health, json!({ "bootId": boot }));
    assert_ne!(other.get("/health").await.json()["bootId"], boot);
}

#[tokio::test]
async fn an_unknown_route_is_404_and_an_unknown_method_405_with_allow() {
    let supervisor = Supervisor::start();
    assert_eq!(
        supervisor.get("/nowhere").await.code(),
        (404, "ROUTE_NOT_FOUND".into())
    );
    let answer = supervisor.delete("/health").await;
    assert_eq!(answer.code(), (405, "METHOD_NOT_ALLOWED".into()));
    assert_eq!(answer.headers["allow"], "GET,HEAD");
    assert_eq!(answer.json()["context"]["allow"], json!(["GET", "HEAD"]));
}

#[tokio::test]
async fn a_body_is_json_of_the_right_shape_and_size() {
    let supervisor = Supervisor::start();
    let put = async |media_type: &str, body: Bytes| {
        let request = request(Method::PUT, "/environment").header("content-type", media_type);
        let request = request.body(Full::new(body)).unwrap();
        Answer::read(supervisor.send(request).await).await
    };
    let json = "application/json; charset=utf-8";
    assert_eq!(
        put(json, r#"{"A":"1","B":null}"#.into()).await.json(),
        json!({"ok": true})
    );
    assert_eq!(
        put("text/plain", "{}".into()).await.code(),
        (415, "UNSUPPORTED_MEDIA_TYPE".into())
    );
    let large = format!(r#"{{"A":"{}"}}"#, "x".repeat(1 << 20)).into();
    assert_eq!(
        put(json, large).await.code(),
        (413, "PAYLOAD_TOO_LARGE".into())
    );
    for (body, field) in [
        (r#"{"A":1}"#, Some("A")),
        (r#"{"A=B":"1"}"#, Some("env.A=B")),
        ("{", None),
        ("{}{}", Some("body")),
        ("", None),
    ] {
        let answer = put(json, body.into()).await;
        assert_eq!(answer.code(), (400, "VALIDATION_FAILED".into()), "{body}");
        assert_eq!(answer.json()["context"]["field"].as_str(), field, "{body}");
    }
}

#[tokio::test]
async fn the_token_is_not_to_be_read_from_the_process() {
    let supervisor = Supervisor::start();
    let environ = std::fs::read(format!("/proc/{}/environ", supervisor.pid()));
    let environ = environ.unwrap_or_default();
    assert!(
        environ.iter().all(|byte| *byte == 0),
        "{}",
        String::from_utf8_lossy(&environ)
    );
}

#[tokio::test]
async fn every_limit_is_told() {
    let supervisor = Supervisor::start_with(&[("SANDBOX_MAX_PROCESSES", "7")]);
    let limits = supervisor.get("/limits").await.json();
    let limit = |name: &str| {
        let mut all = limits["limits"].as_array().unwrap().iter();
        all.find(|limit| limit["name"] == name).unwrap().clone()
    };
    assert_eq!(limit("processes")["value"], 7);
    for name in ["memoryBytes", "treeProcesses"] {
        let enforced = limit(name)["enforced"].as_str().unwrap().to_owned();
        assert!(enforced.contains("every 250 ms"), "{enforced}");
    }
    // As many as the kernel allows, not as many as whoever started it had.
    let path = format!("/proc/{}/limits", supervisor.pid());
    let kernels = std::fs::read_to_string(path).unwrap();
    let line = kernels
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let hard = line.unwrap().split_whitespace().nth(4).unwrap();
    assert_eq!(limit("descriptors")["value"].to_string(), hard);
}

/// Sends `head` and `length` bytes, all of it before anything is read, and returns the answer.
async fn upload(supervisor: &Supervisor, head: &str, length: usize) -> String {
    let mut stream = UnixStream::connect(supervisor.socket()).await.unwrap();
    let head =
        format!("{head}\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let sent = stream.write_all(&vec![b'x'; length]).await;
    sent.unwrap_or_else(|error| panic!("{head}: {error}"));
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn who_is_refused_in_the_middle_of_an_upload_gets_to_read_why() {
    let supervisor = Supervisor::start();
    let token = format!("authorization: Bearer {TOKEN}");
    for (head, status) in [
        ("PUT /file/workspace/a HTTP/1.1", 401),
        (&format!("PUT /nowhere HTTP/1.1\r\n{token}"), 404),
        (&format!("PUT /health HTTP/1.1\r\n{token}"), 405),
        (
            &format!("POST /processes/none/stdin HTTP/1.1\r\n{token}"),
            404,
        ),
        (&format!("PUT /file/etc/a HTTP/1.1\r\n{token}"), 403),
        (&format!("PUT /environment HTTP/1.1\r\n{token}"), 415),
        (
            &format!("PUT /environment HTTP/1.1\r\n{token}\r\ncontent-type: application/json"),
            413,
        ),
        (&format!("POST /hydrate HTTP/1.1\r\n{token}"), 400),
    ] {
        let answer = upload(&supervisor, head, 8 << 20).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{head}: {answer}"
        );
    }
}

#[tokio::test]
async fn who_asks_before_an_upload_is_refused_without_it() {
    let supervisor = Supervisor::start();
    let mut stream = UnixStream::connect(supervisor.socket()).await.unwrap();
    let head = "PUT /file/workspace/a HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 9\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
}

#[tokio::test]
async fn who_sends_as_things_happen_is_refused_before_all_have() {
    let supervisor = Supervisor::start();
    let mut stream = UnixStream::connect(supervisor.socket()).await.unwrap();
    let head = "POST /processes/none/stdin HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n";
    let begun = format!("{head}authorization: Bearer {TOKEN}\r\n\r\n4\r\nline\r\n");
    stream.write_all(begun.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
}
