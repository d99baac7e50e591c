//! The server: axum's router under an accept loop of our own.
//!
//! `axum::serve` cannot close a connection without a status line. Here a severed reply becomes an
//! error of the hyper service; hyper then drops the connection and writes nothing.

use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::response::Response;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::answer::Severed;
use crate::exchange::App;
use crate::world::World;
use crate::{control, routes};

/// How long a stopping server waits for requests in hand.
const DRAIN: Duration = Duration::from_secs(5);

/// What a sandbox needs to know besides where to listen.
#[derive(Clone, Debug)]
pub struct Options {
    /// The append-only file of effects. Read again at start, with `FILE.journal` beside it, so
    /// that a restart knows its intents and answers its keys as before. Neither may be deleted
    /// without the other; faults and call counts are not kept.
    pub ledger: PathBuf,
    /// Seed of the fault rates: the same seed and requests meet the same faults.
    pub seed: u64,
}

/// Serves all services on `listener` until `shutdown` is ready, then finishes requests in hand
/// for up to five seconds. Requests that a fault makes hang, and effects that it delays beyond
/// that, are dropped: they did not happen. Once this returns, the ledger may be opened again.
///
/// # Errors
///
/// When the ledger or its journal cannot be opened, read or completed, is not one of ours, or is
/// in use by another sandbox.
pub async fn serve(
    listener: TcpListener,
    options: Options,
    shutdown: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let app = Arc::new(App::new(World::open(&options.ledger, options.seed)?));
    let service = TowerToHyperService::new(router(Arc::clone(&app)));
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, service.clone(), graceful.watcher()));
                }
                // Out of descriptors, most likely: wait for connections to close.
                Err(_) => sleep(Duration::from_millis(10)).await,
            },
            Some(_) = connections.join_next() => {}
            () = &mut shutdown => break,
        }
    }
    drop(listener);
    app.world().faults.abandon_hanging();
    if timeout(DRAIN, graceful.shutdown()).await.is_err() {
        eprintln!("gave up on requests in hand after {DRAIN:?}");
    }
    connections.shutdown().await;
    app.stop().await;
    Ok(())
}

fn router(app: Arc<App>) -> Router {
    routes::services().merge(control::routes()).with_state(app)
}

async fn connection(stream: TcpStream, service: TowerToHyperService<Router>, watcher: Watcher) {
    // Without it, small replies on a kept-alive connection wait for the client's delayed ack.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| respond(service.clone(), request));
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    // An error is a severed reply or a client that left; neither is worth a line of log.
    let _ = watcher.watch(connection).await;
}

/// The connection must close without a reply.
#[derive(Debug)]
struct CloseNow;

impl fmt::Display for CloseNow {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("the reply was severed by a fault")
    }
}

impl std::error::Error for CloseNow {}

async fn respond(
    service: TowerToHyperService<Router>,
    request: Request<Incoming>,
) -> Result<Response, CloseNow> {
    let response = match service.call(request).await {
        Ok(response) => response,
        Err(impossible) => match impossible {},
    };
    if response.extensions().get::<Severed>().is_some() { Err(CloseNow) } else { Ok(response) }
}
