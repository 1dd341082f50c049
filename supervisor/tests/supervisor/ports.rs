//! Services behind the supervisor: what goes in, what comes out, and what streams.

use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use axum::{Json, Router};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http_body_util::{BodyExt, Empty};
use hyper::Method;
use serde_json::{Value, json};
use tokio::net::{TcpListener, UnixStream};
use tokio_tungstenite::tungstenite::Message;

use crate::harness::{Answer, Supervisor, TOKEN, request, streamed};

/// A service on a free port of its own, of this address family.
async fn service(address: &str, app: Router) -> u16 {
    let listener = TcpListener::bind((address, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { axum::serve(listener, app).await });
    port
}

/// Answers with the method, path and headers that arrived, and headers that must not come out.
async fn mirror(request: Request) -> Response {
    let headers: serde_json::Map<String, Value> = request
        .headers()
        .iter()
        .map(|(name, value)| (name.to_string(), json!(value.to_str().unwrap())))
        .collect();
    let seen = json!({
        "method": request.method().as_str(),
        "uri": request.uri().to_string(),
        "headers": headers,
    });
    let answer = [
        ("set-cookie", "a=b"),
        ("service-worker-allowed", "/"),
        ("content-security-policy", "default-src 'none'"),
        ("x-own", "stays"),
    ];
    (answer, Json(seen)).into_response()
}

#[tokio::test]
async fn every_method_arrives_with_its_path_and_without_credentials() {
    let supervisor = Supervisor::start();
    let port = service("127.0.0.1", Router::new().fallback(any(mirror))).await;
    for method in [
        "GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND",
    ] {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let path = format!("/ports/{port}/a%2Fb//c?x=%20&y");
        let call = request(method.clone(), &path)
            .header("cookie", "session=1")
            .header("cf-connecting-ip", "10.0.0.1")
            .header("sandbox-engine-secret", "secret")
            .header("connection", "x-hop")
            .header("x-hop", "1")
            .header("x-end", "to end");
        let answer = supervisor.send(call.body(Empty::<Bytes>::new()).unwrap());
        let answer = Answer::read(answer.await).await;
        assert_eq!(answer.status, 200);
        let seen = answer.json();
        assert_eq!(seen["method"], method.as_str());
        assert_eq!(seen["uri"], "/a%2Fb//c?x=%20&y");
        assert_eq!(seen["headers"]["host"], format!("localhost:{port}"));
        assert_eq!(seen["headers"]["x-end"], "to end");
        let inside = seen.to_string();
        for kept_out in ["session=1", "10.0.0.1", "secret", "x-hop", TOKEN] {
            assert!(!inside.contains(kept_out), "{kept_out} went in: {inside}");
        }
    }
}

#[tokio::test]
async fn an_answer_cannot_speak_for_the_whole_origin() {
    let supervisor = Supervisor::start();
    let port = service("127.0.0.1", Router::new().fallback(any(mirror))).await;
    let answer = supervisor.get(&format!("/ports/{port}/")).await;
    assert!(!answer.headers.contains_key("set-cookie"));
    assert!(!answer.headers.contains_key("service-worker-allowed"));
    assert_eq!(answer.headers["x-own"], "stays");
    assert_eq!(answer.headers["x-content-type-options"], "nosniff");
    let policies: Vec<_> = answer
        .headers
        .get_all("content-security-policy")
        .iter()
        .collect();
    assert_eq!(policies, ["default-src 'none'", "sandbox allow-scripts"]);
}

#[tokio::test]
async fn a_service_on_ipv6_alone_is_reached() {
    let supervisor = Supervisor::start();
    let port = service("::1", Router::new().fallback(any(mirror))).await;
    let answer = supervisor.get(&format!("/ports/{port}")).await;
    assert_eq!((answer.status, &answer.json()["uri"]), (200, &json!("/")));
}

#[tokio::test]
async fn ports_that_cannot_be_are_refused() {
    let supervisor = Supervisor::start();
    for port in ["0", "9711", "65536", "http"] {
        let answer = supervisor.get(&format!("/ports/{port}/")).await;
        assert_eq!(answer.code(), (400, "INVALID_PORT".to_owned()), "{port}");
    }
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let answer = supervisor.get(&format!("/ports/{port}/")).await;
    assert_eq!(answer.code(), (502, "SERVICE_NOT_RESPONDING".to_owned()));
}

#[tokio::test]
async fn a_service_that_hangs_up_without_an_answer_is_told() {
    let supervisor = Supervisor::start();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            drop(stream);
        }
    });
    let answer = supervisor.get(&format!("/ports/{port}/")).await;
    assert_eq!(answer.code(), (502, "SERVICE_NOT_RESPONDING".to_owned()));
}

#[tokio::test]
async fn bodies_stream_both_ways_at_once() {
    let supervisor = Supervisor::start();
    let echo = |request: Request| async { Body::new(request.into_body()) };
    let port = service("127.0.0.1", Router::new().fallback(any(echo))).await;
    let (sender, body) = streamed();
    let call = request(Method::POST, &format!("/ports/{port}/"));
    let mut answer = supervisor.send(call.body(body).unwrap()).await;
    // Each piece comes back before the next is sent.
    for piece in ["one", "two", "three"] {
        sender
            .send(Bytes::from_static(piece.as_bytes()))
            .await
            .unwrap();
        let frame = answer.frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), piece);
    }
    drop(sender);
    assert!(answer.frame().await.is_none());
}

#[tokio::test]
async fn a_websocket_goes_through() {
    let supervisor = Supervisor::start();
    let echo = |upgrade: axum::extract::ws::WebSocketUpgrade| async {
        upgrade.protocols(["chat"]).on_upgrade(async |mut socket| {
            while let Some(Ok(message)) = socket.recv().await {
                if socket.send(message).await.is_err() {
                    return;
                }
            }
        })
    };
    let port = service("127.0.0.1", Router::new().fallback(any(echo))).await;
    let call = request(Method::GET, &format!("ws://supervisor/ports/{port}/chat"))
        .header("connection", "keep-alive, Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header("sec-websocket-protocol", "chat");
    let stream = UnixStream::connect(supervisor.socket()).await.unwrap();
    let call = call.body(()).unwrap();
    let (mut socket, answer) = tokio_tungstenite::client_async(call, stream).await.unwrap();
    assert_eq!(answer.headers()["sec-websocket-protocol"], "chat");
    for message in [Message::text("hello"), Message::binary(vec![0, 255])] {
        socket.send(message.clone()).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), message);
    }
    socket.close(None).await.unwrap();
}
