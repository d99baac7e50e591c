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
        // It is parked at its second delivery: at the first, nothing is read of it.
        Direction::Run if earlier.is_ahead() => {}
        Direction::Run => earlier.begins_anew(worker).await,
    }
    let what = format!("none of its last {starts} runs came to an end, and it ran alone");
    Err(Ending::Park(BadData::new(Reason::CrashLoop, "", what)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::desk::Desk;

    /// What becomes of a message that has killed `starts` workers, this long after the last.
    async fn checked(direction: Direction, starts: u32, after: Duration) -> (bool, u32) {
        let desk = Desk::of("charge-card");
        let delivery = desk.delivery(desk.done("book-hotel"), 9);
        let mut earlier = Earlier::of(&desk.worker, &delivery).await;
        for _ in 0..starts {
            earlier.begins(&desk.worker).await;
        }
        tokio::time::advance(after).await;
        let mut earlier = Earlier::of(&desk.worker, &delivery).await;
        let passed = match check(&desk.worker, direction, &mut earlier).await {
            Ok(()) => true,
            Err(Ending::Park(bad)) if bad.reason == Reason::CrashLoop => false,
            Err(_) => panic!("it passes or is parked"),
        };
        (passed, Earlier::of(&desk.worker, &delivery).await.unended_runs(&desk.worker).0)
    }

    #[tokio::test(start_paused = true)]
    async fn after_three_starts_without_an_end_a_message_is_parked_and_begins_anew() {
        let (run, hour) = (Direction::Run, Duration::from_secs(3_600));
        assert_eq!(checked(run, 0, hour).await, (true, 0));
        assert_eq!(checked(run, 2, hour).await, (true, 2));
        assert_eq!(checked(run, 3, Duration::ZERO).await, (false, 0));
        assert_eq!(checked(run, 4, hour).await, (false, 0));
    }

    /// It goes on for ever, and its worker lives in between.
    #[tokio::test(start_paused = true)]
    async fn an_undo_that_kills_runs_again_every_five_minutes() {
        let (undo, second) = (Direction::Undo, Duration::from_secs(1));
        assert_eq!(checked(undo, 2, Duration::ZERO).await, (true, 2));
        assert_eq!(checked(undo, 3, UNDO_EVERY - 10 * second).await, (false, 3));
        assert_eq!(checked(undo, 3, UNDO_EVERY).await, (true, 3));
    }

    #[tokio::test(start_paused = true)]
    async fn a_suspicious_message_runs_when_nothing_else_does_and_others_run_side_by_side() {
        let desk = Desk::of("charge-card");
        let message = desk.done("book-hotel");
        let (good, bad) = (desk.delivery(message.clone(), 1), desk.delivery(message, 3));
        let mut good = Earlier::of(&desk.worker, &good).await;
        let mut bad = Earlier::of(&desk.worker, &bad).await;
        let one = Running::begin(&desk.worker, &good).await.unwrap();
        let other = Running::begin(&desk.worker, &good).await.unwrap();
        let soon = Duration::from_secs(60);
        let waits = tokio::time::timeout(soon, Running::begin(&desk.worker, &bad)).await;
        assert!(waits.is_err(), "it would take two others with it");
        one.write_down(&desk.worker, &mut good).await;
        one.end(&desk.worker, &mut good).await;
        assert!(desk.log.kept().bucket.is_empty(), "nothing is written of a good one");
        drop(other);
        let alone = Running::begin(&desk.worker, &bad).await.unwrap();
        let waits = tokio::time::timeout(soon, Running::begin(&desk.worker, &good)).await;
        assert!(waits.is_err(), "it would go with the other");
        alone.write_down(&desk.worker, &mut bad).await;
        assert_eq!(bad.unended_runs(&desk.worker).0, 1);
        alone.end(&desk.worker, &mut bad).await;
        assert_eq!(bad.unended_runs(&desk.worker).0, 0);
        assert!(Running::begin(&desk.worker, &good).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_to_run_hears_that_the_process_stops() {
        let desk = Desk::of("charge-card");
        let delivery = desk.delivery(desk.done("book-hotel"), 3);
        let bad = Earlier::of(&desk.worker, &delivery).await;
        let _one = desk.worker.runs.read().await;
        desk.worker.stopper.stop(crate::process::shutdown::Stop::Asked);
        assert!(Running::begin(&desk.worker, &bad).await.is_none());
    }
}
