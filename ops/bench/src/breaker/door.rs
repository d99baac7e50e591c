//! A way to the payment gateway, or to the server, that can be shut, cut, or made to swallow
//! everything: what a replica without egress meets.
//!
//! It counts what it does not let through, so that nobody has to ask a worker what it wasted.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Connections that wait to be accepted: more than all replicas of a row open at once.
const BACKLOG: u32 = 1024;
/// An edge that rejects every POST as malformed, and finds no service behind it for the rest.
const BAD_REQUEST: &str =
    "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
const UNAVAILABLE: &str =
    "HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// What happens to those who come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Open,
    /// Nobody listens: *connection refused*.
    Shut,
    /// Hangs up on every request.
    Cut,
    /// Takes every request and never answers.
    Hole,
    /// Answers 400 to what would change something, and 503 to the rest.
    Edge,
}

/// Listens until it is dropped.
#[derive(Debug)]
pub(crate) struct Door {
    address: SocketAddr,
    mode: watch::Sender<Mode>,
    met: Arc<AtomicU64>,
    _task: JoinSet<()>,
}

impl Door {
    /// An open door to `target`, `host:port`.
    pub(crate) fn to(target: &str) -> anyhow::Result<Self> {
        let reserved = reserve(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        let address = reserved.local_addr()?;
        let mode = watch::Sender::new(Mode::Open);
        let met = Arc::<AtomicU64>::default();
        let mut task = JoinSet::new();
        let listener = reserved.listen(BACKLOG)?;
        task.spawn(keep(listener, target.to_owned(), mode.subscribe(), met.clone()));
        Ok(Self { address, mode, met, _task: task })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// Requests that came and were not let through. Where nobody listens, nobody counts.
    pub(crate) fn met(&self) -> u64 {
        self.met.load(Ordering::Relaxed)
    }
}

/// A bound socket refuses connections for as long as it does not listen, and no other process can
/// take its port meanwhile.
fn reserve(address: SocketAddr) -> anyhow::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address).with_context(|| format!("cannot bind {address}"))?;
    Ok(socket)
}

async fn keep(
    mut listener: TcpListener,
    target: String,
    mut mode: watch::Receiver<Mode>,
    met: Arc<AtomicU64>,
) {
    let mut connections = JoinSet::new();
    loop {
        if *mode.borrow_and_update() == Mode::Shut {
            let Ok(address) = listener.local_addr() else { return };
            drop(listener);
            connections.shutdown().await;
            let Ok(reserved) = reserve(address) else { return };
            if mode.wait_for(|mode| *mode != Mode::Shut).await.is_err() {
                return;
            }
            let Ok(again) = reserved.listen(BACKLOG) else { return };
            listener = again;
        }
        tokio::select! {
            accepted = listener.accept() => if let Ok((client, _)) = accepted {
                connections.spawn(carry(client, target.clone(), mode.clone(), met.clone()));
            },
            changed = mode.changed() => if changed.is_err() { return },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// One connection. It ends when the mode changes, because what was agreed on it holds no longer.
async fn carry(
    mut client: TcpStream,
    target: String,
    mut mode: watch::Receiver<Mode>,
    met: Arc<AtomicU64>,
) {
    let _ = client.set_nodelay(true);
    let now = *mode.borrow_and_update();
    match now {
        Mode::Open => {
            let Ok(mut server) = TcpStream::connect(target).await else { return };
            let _ = server.set_nodelay(true);
            tokio::select! {
                _ = copy_bidirectional(&mut client, &mut server) => return,
                _ = mode.changed() => {}
            }
            if *mode.borrow() == Mode::Hole {
                // What is in flight gets no answer either, and nobody hangs up.
                let _ = mode.changed().await;
            }
        }
        Mode::Shut => {}
        Mode::Cut | Mode::Hole | Mode::Edge => {
            let mut head = [0; 1024];
            let read = tokio::select! {
                read = client.read(&mut head) => read.unwrap_or(0),
                _ = mode.changed() => 0,
            };
            if read == 0 {
                return;
            }
            // A step that is told 400 looks whether there is a payment before it believes it: these
            // two requests are one call.
            let is_post = head.starts_with(b"POST");
            met.fetch_add(u64::from(now != Mode::Edge || is_post), Ordering::Relaxed);
            if now == Mode::Hole {
                tokio::select! {
                    _ = client.read(&mut head) => {}
                    _ = mode.changed() => {}
                }
            } else if now == Mode::Edge {
                let reply = if is_post { BAD_REQUEST } else { UNAVAILABLE };
                let _ = client.write_all(reply.as_bytes()).await;
                let _ = client.shutdown().await;
            }
        }
    }
}
