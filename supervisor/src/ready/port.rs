//! One probe of a port: whose it is, and whether it answers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use axum::http::{Request, header};
use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use sandbox_protocol::ready::{Met, PortCheck, PortMode};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::listener::{Owner, owner};
use crate::process::Process;

/// How long one probe may take.
const DEADLINE: Duration = Duration::from_secs(5);

/// Where a service may listen, in the order in which it is tried.
const LOOPBACK: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::LOCALHOST),
    IpAddr::V6(Ipv6Addr::LOCALHOST),
];

/// Probes once. The error says, for a person, why it is not ready.
pub(super) async fn probe(process: &Process, check: &PortCheck) -> Result<Met, String> {
    match timeout(DEADLINE, probe_all(process, check)).await {
        Ok(result) => result,
        Err(_) => Err(format!(
            "port {} took the connection and did not answer within {} s",
            check.port,
            DEADLINE.as_secs()
        )),
    }
}

async fn probe_all(process: &Process, check: &PortCheck) -> Result<Met, String> {
    let port = check.port;
    let owners = {
        let process = process.clone();
        let look = move || {
            let pids = process.pids();
            LOOPBACK.map(|target| owner(target, port, &pids))
        };
        tokio::task::spawn_blocking(look)
            .await
            .map_err(|error| error.to_string())?
    };
    let mut failure = format!("nothing listens on port {port}");
    for (target, owner) in LOOPBACK.into_iter().zip(owners) {
        let reached = match owner {
            Owner::Nobody => continue,
            Owner::Foreign => Err(format!(
                "port {port} is taken by a process that is not of this one's tree"
            )),
            Owner::Ours | Owner::Unknown => reach(target, check).await,
        };
        match reached {
            Ok(status) => {
                return Ok(Met::Port {
                    port,
                    mode: check.mode,
                    status,
                    owner: (owner == Owner::Unknown).then(|| "unknown".to_owned()),
                });
            }
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// Connects, and asks if that is wanted: the status.
async fn reach(target: IpAddr, check: &PortCheck) -> Result<Option<u16>, String> {
    let stream = TcpStream::connect((target, check.port))
        .await
        .map_err(|error| format!("port {}: {error}", check.port))?;
    if check.mode == PortMode::Tcp {
        return Ok(None);
    }
    let status = get(stream, check)
        .await
        .map_err(|error| format!("GET {} on port {}: {error}", check.path, check.port))?;
    if check.status.contains(status) {
        Ok(Some(status))
    } else {
        Err(format!(
            "GET {} on port {} answered {status}",
            check.path, check.port
        ))
    }
}

/// The status of the answer to a GET. Its body is not waited for.
async fn get(stream: TcpStream, check: &PortCheck) -> Result<u16, Box<dyn std::error::Error>> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Development servers refuse names that they do not know; they all know this one.
    let request = Request::get(check.path.as_str())
        .header(header::HOST, format!("localhost:{}", check.port))
        .header(header::USER_AGENT, "sandbox-supervisor")
        .header(header::ACCEPT, "*/*")
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())?;
    let answer = sender.send_request(request);
    tokio::pin!(answer, connection);
    // The connection is driven here and not in a task, so that it ends with the probe.
    tokio::select! {
        biased;
        answer = &mut answer => Ok(answer?.status().as_u16()),
        ended = &mut connection => {
            ended?;
            Ok(answer.await?.status().as_u16())
        }
    }
}
