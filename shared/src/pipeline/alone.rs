//! Could this message be the one that kills its workers? Such a message runs alone in its process,
//! so that no other one dies with it again and again, and its start is written down before it runs.
//!
//! A forward message that began three times without an end is parked. An undo is never given up, so
//! it goes on, minutes apart: the worker lives in between.

use std::time::Duration;

use tokio::sync::{RwLockReadGuard, RwLockWriteGuard};

use super::delivery::Ending;
use super::earlier::Earlier;
use super::worker::Worker;
use crate::ids::Direction;
use crate::{BadData, Reason};

/// This many starts without an end are the message's own fault: it ran alone each time.
const STARTS: u32 = 3;

/// A killing undo may stop a worker this often.
const UNDO_EVERY: Duration = Duration::from_secs(300);

/// A run in this process; held until it ends.
#[derive(Debug)]
pub(crate) enum Running<'w> {
    Beside(#[expect(dead_code, reason = "held")] RwLockReadGuard<'w, ()>),
    Alone(#[expect(dead_code, reason = "held")] RwLockWriteGuard<'w, ()>),
}

impl<'w> Running<'w> {
    /// Begins a run beside others.
    pub(crate) async fn beside(worker: &'w Worker) -> Self {
        Self::Beside(worker.runs.read().await)
    }

    /// Begins the first run of a delivery: alone if its message is suspicious.
    pub(crate) async fn first(worker: &'w Worker, earlier: &mut Earlier<'_>) -> Self {
        if !earlier.is_suspicious() {
            return Self::beside(worker).await;
        }
        let alone = worker.runs.write().await;
        earlier.begins(worker).await;
        Self::Alone(alone)
    }

    /// Ends the run, whatever it came to.
    pub(crate) async fn end(self, worker: &Worker, earlier: &mut Earlier<'_>) {
        match self {
            Self::Beside(_) => {}
            Self::Alone(_) => earlier.ends(worker).await,
        }
    }
}

/// Lets a message pass unless it ended its worker again and again.
pub(crate) fn check(
    worker: &Worker,
    direction: Direction,
    earlier: &Earlier<'_>,
) -> Result<(), Ending> {
    let (starts, ago) = earlier.unended_runs(worker);
    let goes_on = direction == Direction::Undo && ago >= UNDO_EVERY;
    if starts < STARTS || goes_on {
        return Ok(());
    }
    let what = format!("its worker ended during each of its last {starts} runs, and ran it alone");
    Err(Ending::Park(BadData::new(Reason::CrashLoop, "", what)))
}
