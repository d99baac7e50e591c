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
    /// Waits until a message may run: beside others, or alone if it is suspicious. `None` when the
    /// process stops meanwhile.
    pub(crate) async fn begin(worker: &'w Worker, earlier: &Earlier<'_>) -> Option<Self> {
        if !earlier.is_suspicious()
            && let Ok(beside) = worker.runs.try_read()
        {
            return Some(Self::Beside(beside));
        }
        let mut shutdown = worker.shutdown.clone();
        tokio::select! {
            biased;
            _ = shutdown.asked() => None,
            alone = worker.runs.write(), if earlier.is_suspicious() => Some(Self::Alone(alone)),
            beside = worker.runs.read(), if !earlier.is_suspicious() => Some(Self::Beside(beside)),
        }
    }

    /// Writes the start down if the process may not survive it.
    pub(crate) async fn write_down(&self, worker: &Worker, earlier: &mut Earlier<'_>) {
        match self {
            Self::Beside(_) => {}
            Self::Alone(_) => earlier.begins(worker).await,
        }
    }

    /// Ends the run, whatever it came to.
    pub(crate) async fn end(self, worker: &Worker, earlier: &mut Earlier<'_>) {
        match self {
            Self::Beside(_) => {}
            Self::Alone(_) => earlier.ends(worker).await,
        }
    }
}

/// Lets a message pass unless its last runs never ended.
pub(crate) async fn check(
    worker: &Worker,
    direction: Direction,
    earlier: &mut Earlier<'_>,
) -> Result<(), Ending> {
    let (starts, ago) = earlier.unended_runs(worker);
    match direction {
        Direction::Undo if ago >= UNDO_EVERY => return Ok(()),
        Direction::Run | Direction::Undo if starts < STARTS => return Ok(()),
        Direction::Undo => {}
        Direction::Run => earlier.begins_anew(worker).await,
    }
    let what = format!("none of its last {starts} runs came to an end, and it ran alone");
    Err(Ending::Park(BadData::new(Reason::CrashLoop, "", what)))
}
