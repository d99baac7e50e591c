//! How far a projection is, for every answer and for those who wait.

use std::time::Duration;

use jiff::Timestamp;
use quadrille::log::token::Token;
use serde::Serialize;
use tokio::time::Instant;

/// Messages that were applied, by model.
pub(crate) const APPLIED: &str = "quadrille_projection_applied_total";
/// Messages in the log that are not applied yet, by model.
pub(crate) const BEHIND: &str = "quadrille_projection_behind";
/// Messages that could not be applied, or only in part, by model.
pub(crate) const SKIPPED: &str = "quadrille_projection_skipped";
/// Bytes of SQLite's write-ahead log, by model.
pub(crate) const WAL_BYTES: &str = "quadrille_projection_wal_bytes";
/// Share of a build that is done, 0 to 1, by model; 1 while nothing is built.
pub(crate) const BUILT: &str = "quadrille_projection_built";

/// How far a projection is.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    /// The place that the rows are of; `None` while no file serves.
    pub as_of: Option<Token>,
    /// When the stream that is there now was created, if the broker has said so.
    pub log: Option<Timestamp>,
    /// The broker's time, and when it said so.
    pub clock: Option<(Timestamp, Instant)>,
    /// When the broker stored the message at that place.
    pub stored_at: Option<Timestamp>,
    /// The version of the read model whose rows serve.
    pub version: Option<u32>,
    /// Messages behind that place, when the log was last read.
    pub behind: u64,
    /// When the log was last read, and was the one that these rows are of.
    pub seen: Instant,
    /// Messages that could not be applied, or only in part.
    pub skipped: u64,
    /// Of SQLite's write-ahead log.
    pub wal_bytes: u64,
    pub building: Option<Progress>,
    /// Files that this process has built.
    pub builds: u64,
    /// Why the log is not read now, or why nothing serves.
    pub trouble: Option<String>,
}

/// How far a build is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Progress {
    /// Messages applied.
    pub done: u64,
    /// Messages in the log when it began, and those that came since, as far as is known.
    pub total: u64,
    /// Messages applied in a second, so far.
    pub per_second: u64,
    /// Seconds to go at this rate; `None` before there is a rate.
    pub eta_s: Option<u64>,
}

impl Progress {
    pub(crate) fn new(done: u64, total: u64, took: Duration) -> Self {
        let rate = done as f64 / took.as_secs_f64().max(0.001);
        let left = total.saturating_sub(done) as f64;
        let eta = (done > 0).then(|| (left / rate).ceil());
        Self { done, total, per_second: rate as u64, eta_s: eta.map(|eta| eta as u64) }
    }
}

impl Status {
    pub(crate) fn begin() -> Self {
        Self {
            as_of: None,
            log: None,
            clock: None,
            stored_at: None,
            version: None,
            behind: 0,
            seen: Instant::now(),
            skipped: 0,
            wal_bytes: 0,
            building: None,
            builds: 0,
            trouble: None,
        }
    }

    /// The broker's time now; `None` if it never said one.
    pub fn now(&self) -> Option<Timestamp> {
        let (time, said) = self.clock?;
        Some(time.saturating_add(said.elapsed()).unwrap_or(time))
    }

    /// Sets the gauges.
    pub(crate) fn record(&self, model: &'static str) {
        metrics::gauge!(BEHIND, "model" => model).set(self.behind as f64);
        metrics::gauge!(SKIPPED, "model" => model).set(self.skipped as f64);
        metrics::gauge!(WAL_BYTES, "model" => model).set(self.wal_bytes as f64);
        let share = |progress: Progress| progress.done as f64 / progress.total.max(1) as f64;
        let built = self.building.map_or(1.0, share);
        metrics::gauge!(BUILT, "model" => model).set(built);
    }
}

/// A place that the rows have not reached.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum NotThere {
    /// The rows are of an earlier place of the same log: see the status.
    #[error("the projection has not reached {wanted}")]
    Behind { wanted: Token, status: Box<Status> },
    /// The place is in a log that is no longer there, because the stream was restored or made anew.
    #[error("{wanted} is a place in a log that is no longer there")]
    OldLog { wanted: Token, status: Box<Status> },
}
