//! An HTTP server that a stranger may reach: every connection is bounded in number, in time and in
//! the size of its head.
//!
//! `axum::serve` bounds none of these. What a request may cost beyond its head (body, concurrency,
//! time) is the affair of the router.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::response::Response;
use futures::future::BoxFuture;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::Stopping;

/// What a stranger may use up.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at once; further ones are answered with 503 and closed.
    pub connections: usize,
    /// Bytes of request line and headers, at least 8,192; more is answered with 431.
    pub head_bytes: usize,
    /// How long a connection may take for a head, from its start or from its last answer; then it
    /// is closed.
    pub head_time: Duration,
}

impl Default for Limits {
    /// 512 connections leave room within the 1,024 descriptors that a process often has.
    fn default() -> Self {
        Self { connections: 512, head_bytes: 16 * 1024, head_time: Duration::from_secs(10) }
    }
}

/// What a connection that is one too many gets.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\n\
    Content-Length: 0\r\nConnection: close\r\n\r\n";

/// What a client may still send after an answer that did not wait for all of its body: read and
/// dropped, because a socket that is closed with unread data takes the answer with it.
const LINGER: (Duration, u64) = (Duration::from_secs(2), 16 * 1024 * 1024);

/// Listens, and writes the address to a file if one is named. `setting` is the key of `listen`, for
/// the error.
///
/// # Errors
/// When the address is in use or not of this machine, or the file cannot be written.
pub async fn listen(
    setting: &str,
    address: SocketAddr,
    address_file: Option<&Path>,
) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("{setting}: cannot listen at {address}"))?;
    let address = listener.local_addr()?;
    if let Some(file) = address_file {
        std::fs::write(file, address.to_string())
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    tracing::info!(%address, "serves HTTP");
    Ok(listener)
}

/// Serves until the process is to stop; then takes no more connections, finishes the requests in
/// hand, and drops those that take too long.
pub async fn serve(listener: TcpListener, router: Router, limits: Limits, mut stopping: Stopping) {
    let service = TowerToHyperService::new(router);
    let places = Arc::new(Semaphore::new(limits.connections));
    let mut connections = JoinSet::new();
    let mut asked = stopping.clone();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => match places.clone().try_acquire_owned() {
                    Ok(place) => {
                        let work = connection(stream, service.clone(), limits, stopping.clone());
                        connections.spawn(async move {
                            work.await;
                            drop(place);
                        });
                    }
                    Err(_) => turn_away(&stream),
                },
                // Out of descriptors, most likely: wait for connections to close.
                Err(_) => sleep(Duration::from_millis(10)).await,
            },
            Some(_) = connections.join_next() => {}
            () = asked.asked() => break,
        }
    }
    drop(listener);
    let finished = async { while connections.join_next().await.is_some() {} };
    tokio::select! {
        () = finished => {}
        () = stopping.let_go() => {}
    }
    connections.shutdown().await;
}

/// Without waiting, because whoever opens too many connections may read none of the answers.
fn turn_away(stream: &TcpStream) {
    let _ = stream.try_write(FULL);
}

async fn connection(
    stream: TcpStream,
    service: TowerToHyperService<Router>,
    limits: Limits,
    mut stopping: Stopping,
) {
    // Without it, small answers on a kept-alive connection wait for the client's delayed ack.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| answer(service.clone(), request));
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_time)
        .max_buf_size(limits.head_bytes.max(8_192))
        .serve_connection(TokioIo::new(stream), service);
    let served = tokio::select! {
        served = std::future::poll_fn(|task| connection.poll_without_shutdown(task)) => served,
        () = stopping.asked() => {
            Pin::new(&mut connection).graceful_shutdown();
            std::future::poll_fn(|task| connection.poll_without_shutdown(task)).await
        }
    };
    let mut stream = connection.into_parts().io.into_inner();
    let _ = stream.shutdown().await;
    // An error is a client that left, or one that was too slow; neither is worth a line of log.
    if served.is_ok() {
        let (time, bytes) = LINGER;
        let mut rest = stream.take(bytes);
        let _ = timeout(time, tokio::io::copy(&mut rest, &mut tokio::io::sink())).await;
    }
}

fn answer(
    service: TowerToHyperService<Router>,
    request: Request<Incoming>,
) -> BoxFuture<'static, Result<Response, Infallible>> {
    Box::pin(async move { service.call(request).await })
}
