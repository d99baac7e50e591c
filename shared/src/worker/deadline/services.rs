//! Whether the services that a saga needs answer, and have done so for a while: an outage is no
//! reason to end the sagas that wait for it.
//!
//! The replicas of other workers know, and say so in the breakers' bucket, which is read only when
//! a saga is overdue.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use crate::Flow;
use crate::breaker::fleet::{Entry, Mode, Override, Phase};
use crate::broker::Unavailable;
use crate::flow::Row;
use crate::pipeline::Worker;
use crate::topology::{BREAKERS, override_key};

/// How often the bucket is read while a saga is overdue.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(1);

/// After so many looks in vain it is said.
const UNREADABLE: u32 = 30;

/// The services that the steps require up to the pivot, or those of one step.
pub(super) struct Services {
    names: Vec<&'static str>,
    /// How long they must have answered again.
    grace: Duration,
    seen: Mutex<Seen>,
}

/// What the last look found.
#[derive(Default)]
struct Seen {
    looked: Option<Instant>,
    all_is_well: bool,
    /// Looks in a row without an answer.
    unread: u32,
    /// When a service was last found not to answer.
    sick: Option<Instant>,
}

impl Services {
    pub(super) fn required(flow: &Flow, step: Option<&'static Row>, grace: Duration) -> Self {
        let up_to_the_pivot = |row: &&Row| row.undo.is_some() || row.pivot.is_some();
        let names = match step {
            Some(row) => row.requires.to_vec(),
            None => {
                let rows = flow.steps.iter().filter(up_to_the_pivot);
                rows.flat_map(|row| row.requires).copied().collect()
            }
        };
        Self { names, grace, seen: Mutex::default() }
    }

    /// Whether every one of them answers, and none was away within the grace time.
    pub(super) async fn have_answered_for_long(&self, worker: &Worker) -> bool {
        if self.names.is_empty() {
            return true;
        }
        {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            if seen.looked.is_some_and(|looked| looked.elapsed() < LOOK_EVERY) {
                return seen.all_is_well;
            }
            // The others meanwhile wait: an answer of long ago says nothing of an outage.
            seen.looked = Some(Instant::now());
            seen.all_is_well = false;
        }
        let well = self.look(worker).await;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.all_is_well = match well {
            Ok(well) => {
                seen.unread = 0;
                if !well {
                    seen.sick = Some(Instant::now());
                }
                well && seen.sick.is_none_or(|sick| sick.elapsed() >= self.grace)
            }
            Err(Unavailable(why)) => {
                seen.unread += 1;
                if seen.unread == UNREADABLE {
                    let bucket = BREAKERS;
                    tracing::warn!(
                        why,
                        bucket,
                        "it cannot be read, so it is not known whether services answer; sagas \
                         that are overdue wait for `deadline.extend_max`"
                    );
                }
                false
            }
        };
        seen.all_is_well
    }

    /// Whether all have answered for the grace time, as their keys say.
    async fn look(&self, worker: &Worker) -> Result<bool, Unavailable> {
        let now = worker.clock.now();
        for name in &self.names {
            let word = worker.broker.entry(BREAKERS, &override_key(name)).await?;
            let word = word.and_then(|entry| serde_json::from_slice::<Override>(&entry.value).ok());
            match word.map(|word| word.mode) {
                Some(Mode::Paused) => return Ok(false),
                // It is asked at full speed, whatever the replicas decide.
                Some(Mode::Flowing | Mode::Observe) => continue,
                None => {}
            }
            let key = worker.broker.entry(BREAKERS, name).await?;
            let Some(key) = key else { continue };
            let Ok(entry) = serde_json::from_slice::<Entry>(&key.value) else { continue };
            if entry.phase != Phase::Flowing || now < later(key.written_at, self.grace) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn later(time: Timestamp, wait: Duration) -> Timestamp {
    let wait = SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX);
    time.saturating_add(wait).unwrap_or(Timestamp::MAX)
}
