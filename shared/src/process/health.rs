//! `/live`, `/ready` and `/metrics` of a worker, and the question `--healthcheck` asks.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::nats::NatsBroker;
use crate::telemetry;

/// What a process says of itself whenever it is asked.
pub(crate) trait Report: Send + Sync {
    /// Lines below the first one of `/ready`.
    fn lines(&self) -> Vec<String>;

    /// Sets the metrics that nothing else sets.
    fn measure(&self);
}

/// Why a process makes no progress, in a sentence for each part of it.
#[derive(Default)]
pub(crate) struct Troubles(Mutex<BTreeMap<String, String>>);

impl Troubles {
    /// `None` once it is over.
    pub(crate) fn set(&self, part: &str, why: Option<String>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match why {
            Some(why) => all.insert(part.to_owned(), why),
            None => all.remove(part),
        };
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().map(|(part, why)| format!("{part}: {why}")).collect()
    }
}

/// Whether the worker takes work: not before it has started, nor while it stops, has no broker, or
/// does not get what it should.
#[derive(Clone)]
pub(crate) struct Readiness {
    takes_work: Arc<AtomicBool>,
    broker: NatsBroker,
    troubles: Arc<Troubles>,
    report: Arc<OnceLock<Arc<dyn Report>>>,
}

impl Readiness {
    pub(crate) fn of(broker: NatsBroker) -> Self {
        Self {
            takes_work: Arc::default(),
            broker,
            troubles: Arc::default(),
            report: Arc::default(),
        }
    }

    pub(crate) fn set(&self, takes_work: bool) {
        self.takes_work.store(takes_work, Ordering::Relaxed);
    }

    pub(crate) fn troubles(&self) -> Arc<Troubles> {
        self.troubles.clone()
    }

    /// What else there is to say; the first one stays.
    pub(crate) fn reports(&self, report: Arc<dyn Report>) {
        report.measure();
        let _ = self.report.set(report);
    }

    fn is_ready(&self) -> bool {
        self.takes_work.load(Ordering::Relaxed) && self.broker.connected()
    }

    /// A paused worker is ready: a restart would lose what it holds.
    fn answer(&self) -> (StatusCode, String) {
        let troubles = self.troubles.lines();
        let (status, mut text) = if self.is_ready() && troubles.is_empty() {
            (StatusCode::OK, "ready\n".to_owned())
        } else {
            (StatusCode::SERVICE_UNAVAILABLE, "not ready\n".to_owned())
        };
        let report = self.report.get().iter().flat_map(|report| report.lines()).collect();
        for line in [troubles, report].concat() {
            text.push_str(&line);
            text.push('\n');
        }
        (status, text)
    }
}

/// Answers until it is dropped.
pub(crate) async fn serve(
    listener: TcpListener,
    readiness: Readiness,
    metrics: PrometheusHandle,
) -> std::io::Result<()> {
    let folding = fold_samples(metrics.clone());
    let (report, broker) = (readiness.report.clone(), readiness.broker.clone());
    let ready = move || async move { readiness.answer() };
    let measured = move || async move {
        if let Some(report) = report.get() {
            report.measure();
        }
        let connected = if broker.connected() { 1.0 } else { 0.0 };
        metrics::gauge!(telemetry::CONNECTED).set(connected);
        metrics.render()
    };
    let router = Router::new()
        .route("/", get(|| async { "see /live, /ready and /metrics\n" }))
        .route("/live", get(|| async { "live\n" }))
        .route("/ready", get(ready))
        .route("/metrics", get(measured));
    tokio::select! {
        served = axum::serve(listener, router) => served,
        () = folding => Ok(()),
    }
}

/// Folds the samples of histograms, because they pile up until then, even when nobody scrapes.
async fn fold_samples(metrics: PrometheusHandle) {
    let mut tick = tokio::time::interval(Duration::from_secs(5));
    loop {
        tick.tick().await;
        metrics.run_upkeep();
    }
}

/// Asks a worker on this machine whether it is ready.
///
/// # Errors
/// When no process listens at `address`, or the answer is not 200.
pub async fn check(address: SocketAddr) -> anyhow::Result<()> {
    let local = SocketAddr::new(
        if address.ip().is_unspecified() { [127, 0, 0, 1].into() } else { address.ip() },
        address.port(),
    );
    anyhow::ensure!(local.port() != 0, "health.listen has port 0, so nobody can know where to ask");
    let stream = TcpStream::connect(local).await;
    let mut stream = stream.with_context(|| format!("no worker listens at http://{local}"))?;
    stream.write_all(b"GET /ready HTTP/1.0\r\n\r\n").await?;
    let mut answer = String::new();
    stream.take(1024).read_to_string(&mut answer).await?;
    let status = answer.split(' ').nth(1).unwrap_or_default();
    anyhow::ensure!(status == "200", "http://{local}/ready answers {status}");
    Ok(())
}
