//! The way to a service in the sandbox: what goes in to it, and what comes out.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri, header};
use axum::response::Response;
use sandbox_protocol::error::{ErrorBody, ErrorCode};
use tokio::net::TcpStream;

use crate::error::Error;
use crate::forward::forward;

/// Where a service may listen, in the order in which it is tried.
const LOOPBACK: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::LOCALHOST),
    IpAddr::V6(Ipv6Addr::LOCALHOST),
];

/// What begins like this is about the way to the supervisor: Cloudflare's, and ours.
const OF_THE_WAY: [&str; 2] = ["cf-", "sandbox-"];

/// What would give the service a say over the whole Worker's origin.
const OF_THE_ORIGIN: [HeaderName; 2] = [
    header::SET_COOKIE,
    HeaderName::from_static("service-worker-allowed"),
];

/// Passes `request` on to the service on `port`, as if it were for `uri`. `SERVICE_NOT_RESPONDING` if nobody
/// listens or nobody answers.
///
/// Credentials stay out, for what listens there is not trusted; and its pages get an origin of their own, for
/// they come from the address that the caller's key is for.
pub(crate) async fn pass(port: u16, mut request: Request, uri: Uri) -> Result<Response, Error> {
    let stream = connect(port).await?;
    let headers = request.headers_mut();
    keep_secrets(headers);
    let host = HeaderValue::from_str(&format!("localhost:{port}"));
    headers.insert(header::HOST, host.expect("a number makes a host"));
    let mut answer = forward(stream, request, uri).await?;
    confine(answer.headers_mut());
    Ok(answer)
}

async fn connect(port: u16) -> Result<TcpStream, Error> {
    let mut failure = String::new();
    for address in LOOPBACK {
        match TcpStream::connect((address, port)).await {
            Ok(stream) => {
                stream
                    .set_nodelay(true)
                    .map_err(Error::internal("connecting to a service"))?;
                return Ok(stream);
            }
            Err(error) if failure.is_empty() => failure = error.to_string(),
            Err(_) => {}
        }
    }
    Err(ErrorBody::new(
        ErrorCode::ServiceNotResponding,
        format!("nothing listens on port {port}"),
    )
    .with(|context| context.last_error = Some(failure))
    .suggest("start the service, and wait for its port with POST …/processes/{process}/wait")
    .into())
}

fn keep_secrets(headers: &mut HeaderMap) {
    headers.remove(header::AUTHORIZATION);
    headers.remove(header::COOKIE);
    let of_the_way: Vec<HeaderName> = headers
        .keys()
        .filter(|name| {
            OF_THE_WAY
                .iter()
                .any(|prefix| name.as_str().starts_with(prefix))
        })
        .cloned()
        .collect();
    for name in of_the_way {
        headers.remove(name);
    }
}

fn confine(headers: &mut HeaderMap) {
    for name in OF_THE_ORIGIN {
        headers.remove(name);
    }
    // Beside the service's own policy, if it has one: both hold.
    let sandbox = HeaderValue::from_static("sandbox allow-scripts");
    headers.append(header::CONTENT_SECURITY_POLICY, sandbox);
    let nosniff = HeaderValue::from_static("nosniff");
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
}
