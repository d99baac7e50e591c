//! A TCP proxy between a client and a nats-server that loses what a test wants lost.
//!
//! A connection that has lost a byte is never repaired, because the protocol on it would be
//! garbage: it stays as it is, or is cut. The client's next connection is a new one.

use std::collections::HashSet;
use std::future::pending;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// Longest subject that a trigger looks for.
const MOST_SUBJECT: usize = 256;

/// Listens until it is dropped; that cuts every connection.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
    _listens: JoinSet<()>,
}

/// What happens to bytes on one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    Passes,
    /// Everything the server says is lost; the connection is cut at that time.
    LosesAnswers(Instant),
    /// Nothing passes in either direction, and neither side notices.
    Silent,
    /// Reset.
    Cut,
}

#[derive(Debug)]
struct Shared {
    connections: Vec<watch::Sender<Line>>,
    trigger: Option<Trigger>,
    triggered: usize,
}

#[derive(Debug)]
struct Trigger {
    /// `HPUB orders.payment.`
    start: Vec<u8>,
    lasts: Duration,
    /// Each subject counts once, so that the repetition gets its answer.
    seen: HashSet<Vec<u8>>,
}

impl Proxy {
    /// A proxy that forwards everything to the server at `nats://host:port`.
    pub async fn to(url: &str) -> Self {
        let server = url.strip_prefix("nats://").expect("a server's URL").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let shared = Shared { connections: Vec::new(), trigger: None, triggered: 0 };
        let shared = Arc::new(Mutex::new(shared));
        let mut listens = JoinSet::new();
        listens.spawn(listen(listener, server, shared.clone()));
        Self { address, shared, _listens: listens }
    }

    pub fn url(&self) -> String {
        format!("nats://{}", self.address)
    }

    /// From now on, when the client sends a line that begins with `start` (`HPUB orders.payment.`)
    /// and a subject that it has not sent before, the server's answers on that connection are lost
    /// for this long; then the connection is cut.
    pub fn lose_answers_after(&self, start: &str, lasts: Duration) {
        let start = start.as_bytes().to_vec();
        self.shared().trigger = Some(Trigger { start, lasts, seen: HashSet::new() });
    }

    /// How many times answers were lost because of [`Proxy::lose_answers_after`].
    pub fn triggered(&self) -> usize {
        self.shared().triggered
    }

    /// The open connections go silent, and neither side notices; new ones work.
    pub fn half_open(&self) {
        let mut shared = self.shared();
        shared.connections.retain(|connection| !connection.is_closed());
        for connection in &shared.connections {
            connection.send_replace(Line::Silent);
        }
    }

    /// No fault from now on; connections that suffer from one are reset.
    pub fn heal(&self) {
        let mut shared = self.shared();
        shared.trigger = None;
        for connection in &shared.connections {
            connection.send_if_modified(|line| {
                let sick = *line != Line::Passes;
                if sick {
                    *line = Line::Cut;
                }
                sick
            });
        }
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().expect("no code panics while it holds the lock")
    }
}

async fn listen(listener: TcpListener, server: String, shared: Arc<Mutex<Shared>>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((client, _)) = listener.accept().await else { continue };
        while connections.try_join_next().is_some() {}
        connections.spawn(carry(client, server.clone(), shared.clone()));
    }
}

/// One connection, until a side closes it or it is cut.
async fn carry(mut client: TcpStream, server: String, shared: Arc<Mutex<Shared>>) {
    let line = watch::Sender::new(Line::Passes);
    shared.lock().expect("no code panics while it holds the lock").connections.push(line.clone());
    let Ok(mut server) = TcpStream::connect(server).await else { return };
    for side in [&client, &server] {
        let _ = side.set_nodelay(true);
    }
    let was_cut = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        tokio::select! {
            () = upward(from_client, to_server, &line, &shared) => false,
            () = downward(from_server, to_client, &line) => false,
            () = cut(line.subscribe()) => true,
        }
    };
    if was_cut {
        let _ = client.set_zero_linger();
        let _ = server.set_zero_linger();
    }
}

/// From the client to the server.
async fn upward(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    line: &watch::Sender<Line>,
    shared: &Mutex<Shared>,
) {
    // The end of what was read before, because a line of the protocol may come in two pieces.
    let mut unread = Vec::new();
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        let trigger = {
            let mut shared = shared.lock().expect("no code panics while it holds the lock");
            unread.extend_from_slice(&bytes[..count]);
            shared.look_for_trigger(&mut unread)
        };
        if let Some(lasts) = trigger {
            // Set before the server has the message, so that its answer cannot come first.
            let until = Instant::now() + lasts;
            line.send_if_modified(|line| {
                let passes = *line == Line::Passes;
                if passes {
                    *line = Line::LosesAnswers(until);
                }
                passes
            });
        }
        if *line.borrow() != Line::Silent && to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}

/// From the server to the client.
async fn downward(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, line: &watch::Sender<Line>) {
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        if *line.borrow() == Line::Passes && to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
    if *line.borrow() != Line::Passes {
        // The client does not see that the server has closed, as it sees nothing the server says.
        pending::<()>().await;
    }
}

/// Resolves when the connection is to be cut.
async fn cut(mut line: watch::Receiver<Line>) {
    loop {
        let at = match *line.borrow_and_update() {
            Line::Cut => return,
            Line::LosesAnswers(until) => Some(until),
            Line::Passes | Line::Silent => None,
        };
        let wait = async {
            match at {
                Some(at) => sleep_until(at).await,
                None => pending().await,
            }
        };
        tokio::select! {
            () = wait => return,
            changed = line.changed() => if changed.is_err() { return },
        }
    }
}

impl Shared {
    /// Reads what the client sent, and keeps what must be read again with the next bytes.
    fn look_for_trigger(&mut self, sent: &mut Vec<u8>) -> Option<Duration> {
        let Some(trigger) = &mut self.trigger else {
            sent.clear();
            return None;
        };
        let start = &trigger.start;
        let mut found = None;
        let mut rest = 0;
        while let Some(at) = find(&sent[rest..], start) {
            let (begin, most) = (rest + at, sent.len().min(rest + at + MOST_SUBJECT));
            let Some(length) = find(&sent[begin + start.len()..most], b" ") else {
                rest = begin;
                break;
            };
            rest = begin + start.len() + length;
            if trigger.seen.insert(sent[begin..rest].to_vec()) {
                found = Some(trigger.lasts);
                self.triggered += 1;
            }
        }
        let keep = rest.max(sent.len().saturating_sub(MOST_SUBJECT));
        sent.drain(..keep);
        found
    }
}

fn find(bytes: &[u8], pattern: &[u8]) -> Option<usize> {
    bytes.windows(pattern.len()).position(|window| window == pattern)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_publish_in_pieces_triggers_once() {
        let start = b"HPUB orders.payment.".to_vec();
        let trigger = Trigger { start, lasts: Duration::from_secs(1), seen: HashSet::new() };
        let mut shared = Shared { connections: Vec::new(), trigger: Some(trigger), triggered: 0 };
        let mut unread = Vec::new();
        let pieces =
            ["PING\r\nHPUB orders.pay", "ment.A1 _INBOX", ".1 2 3\r\nHPUB orders.payment.A1 x"];
        let triggered = pieces.map(|piece| {
            unread.extend_from_slice(piece.as_bytes());
            shared.look_for_trigger(&mut unread).is_some()
        });
        assert_eq!((triggered, shared.triggered), ([false, true, false], 1));
    }
}
