//! Services of a sandbox, reached through Worker, object and supervisor.

use hyper::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::Message;

use crate::harness::{Dev, Sandbox};

/// Starts the service of the fixture and waits for its port, which no other test uses: on the local engine
/// the sandboxes share the machine's.
pub(crate) async fn serve(sandbox: &Sandbox<'_>, port: u16) {
    let script = include_str!("../fixtures/service.mjs");
    let put = sandbox.put("file/workspace/service.mjs").body(script);
    assert_eq!(put.send().await.status(), 200);
    let start = json!({
        "argv": ["node", "service.mjs", port.to_string()],
        "ready": {"port": port, "mode": "tcp"},
    });
    let started = sandbox.post("processes").json(&start).send().await;
    assert_eq!(started.status(), 201, "{}", started.text().await);
}

#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn a_service_is_reached_by_every_method_and_cannot_speak_for_the_origin() {
    let dev = Dev::shared();
    let sandbox = dev.sandbox();
    serve(&sandbox, 18441).await;
    for method in [
        "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND",
    ] {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let path = sandbox.path("ports/18441/a%2Fb//c?x=%20&y");
        let call = dev
            .call(method.clone(), &path)
            .header("Authorization", "Bearer mine")
            .header("Cookie", "session=1")
            .header("X-End", "to end");
        let answer = call.send().await;
        assert_eq!(answer.status(), 200, "{method}");
        assert_eq!(answer.header("X-Own"), "stays");
        assert_eq!(answer.header("Set-Cookie"), "");
        assert_eq!(answer.header("X-Content-Type-Options"), "nosniff");
        let policy = answer.header("Content-Security-Policy");
        assert_eq!(policy, "sandbox allow-scripts");
        if method == Method::HEAD {
            continue;
        }
        let seen = answer.json().await;
        assert_eq!(seen["method"], method.as_str());
        assert_eq!(seen["url"], "/a%2Fb//c?x=%20&y");
        assert_eq!(seen["headers"]["x-end"], "to end");
        for kept_out in ["authorization", "cookie"] {
            assert!(seen["headers"][kept_out].is_null(), "{seen}");
        }
        assert!(!seen.to_string().contains("cf-"), "{seen}");
    }
    let moved = sandbox.get("ports/18441/moved").send().await;
    assert_eq!(
        (moved.status(), moved.header("Location")),
        (302, "/elsewhere"),
        "a redirect is the client's to follow"
    );
    assert_eq!(sandbox.delete("").send().await.status(), 204);
}

#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn a_body_streams_to_a_service_and_back_at_once() {
    let dev = Dev::shared();
    let sandbox = dev.sandbox();
    serve(&sandbox, 18442).await;
    let mut line = dev.connect().await;
    let head = format!(
        "POST {} HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n",
        sandbox.path("ports/18442/echo")
    );
    line.write_all(head.as_bytes()).await.unwrap();
    let mut read = String::new();
    for piece in ["one", "two", "three"] {
        let chunk = format!("{:x}\r\n{piece}\r\n", piece.len());
        line.write_all(chunk.as_bytes()).await.unwrap();
        while !read.contains(piece) {
            read.push(char::from(line.read_u8().await.unwrap()));
        }
    }
    assert!(read.starts_with("HTTP/1.1 200 "), "{read}");
    assert_eq!(sandbox.delete("").send().await.status(), 204);
}

#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn a_websocket_reaches_a_service() {
    let dev = Dev::shared();
    let sandbox = dev.sandbox();
    serve(&sandbox, 18443).await;
    let path = sandbox.path("ports/18443/chat?room=1");
    let mut socket = dev.socket(&path).await.expect("it opens");
    for message in [Message::text("hello"), Message::binary(vec![0, 255])] {
        socket.send(message.clone()).await;
        assert_eq!(socket.next().await, Some(message));
    }
    assert_eq!(sandbox.delete("").send().await.status(), 204);
    assert_eq!(
        socket.next().await,
        None,
        "the socket ends with the sandbox"
    );
}

#[tokio::test]
#[ignore = "starts wrangler dev: run by make test"]
async fn a_port_that_cannot_be_starts_nothing_and_a_silent_one_is_502() {
    let sandbox = Dev::shared().sandbox();
    for port in ["0", "9711", "65536", "http"] {
        let answer = sandbox.get(&format!("ports/{port}/")).send().await;
        assert_eq!(answer.status(), 400);
        assert_eq!(answer.json().await["code"], "INVALID_PORT", "{port}");
    }
    assert_eq!(sandbox.remains(), Vec::<String>::new());
    let answer = sandbox.get("ports/18444/").send().await;
    assert_eq!(answer.status(), 502);
    assert_eq!(answer.json().await["code"], "SERVICE_NOT_RESPONDING");
    assert_eq!(sandbox.delete("").send().await.status(), 204);
}
