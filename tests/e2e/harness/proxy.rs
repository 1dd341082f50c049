//! A wire between a client and the server that breaks in the middle of a stream.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Passes bytes on, and notes the requests of one kind. Dropping it takes no more connections.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    wire: Arc<Wire>,
    listening: JoinHandle<()>,
}

struct Wire {
    server: SocketAddr,
    begin: String,
    requests: Mutex<Vec<String>>,
    /// After how many bytes of an answer the connection breaks, for each stream in turn; then no more.
    cuts: Mutex<Vec<usize>>,
}

impl Proxy {
    /// Stands before `server`. Of the answers to requests that begin with `begin`, as many as there are `cuts` break
    /// after so many bytes.
    pub(super) async fn start(server: SocketAddr, begin: &str, cuts: &[usize]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let wire = Arc::new(Wire {
            server,
            begin: begin.to_owned(),
            requests: Mutex::default(),
            cuts: Mutex::new(cuts.iter().rev().copied().collect()),
        });
        let shared = Arc::clone(&wire);
        let port = listener.local_addr().expect("it is bound").port();
        let listening = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let wire = Arc::clone(&shared);
                // Either side may go at any time; then the other one goes as well.
                tokio::spawn(async move { drop(wire.carry(client).await) });
            }
        });
        Self {
            port,
            wire,
            listening,
        }
    }

    /// The heads of the requests of that kind so far.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.wire.requests.lock().expect("nobody panics").clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl Wire {
    async fn carry(&self, mut client: TcpStream) -> io::Result<()> {
        let mut server = TcpStream::connect(self.server).await?;
        let (mut up, mut down) = (vec![0; 16 << 10], vec![0; 16 << 10]);
        let mut head = String::new();
        let mut left = None;
        loop {
            tokio::select! {
                read = client.read(&mut up) => match read? {
                    0 => return Ok(()),
                    length => {
                        left = self.note(&mut head, &up[..length]).or(left);
                        server.write_all(&up[..length]).await?;
                    }
                },
                read = server.read(&mut down) => match read? {
                    0 => return Ok(()),
                    length => {
                        let passed = left.map_or(length, |left| length.min(left));
                        client.write_all(&down[..passed]).await?;
                        left = left.map(|left| left - passed);
                        if left == Some(0) {
                            return Ok(());
                        }
                    }
                },
            }
        }
    }

    /// Looks for the end of a head in what the client sends; how much of the answer passes, if it is to break.
    fn note(&self, head: &mut String, bytes: &[u8]) -> Option<usize> {
        head.push_str(&String::from_utf8_lossy(bytes));
        let (request, rest) = head.split_once("\r\n\r\n")?;
        let (request, rest) = (request.to_owned(), rest.to_owned());
        *head = rest;
        if !request.starts_with(&self.begin) {
            return None;
        }
        let mut requests = self.requests.lock().expect("nobody panics");
        requests.push(request);
        self.cuts.lock().expect("nobody panics").pop()
    }
}
