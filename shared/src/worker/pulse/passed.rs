//! The messages that a durable has passed although nothing came of them.
//!
//! An acknowledgement needs a decision, so of what a durable has passed, and no replica holds, each
//! message has left something in the log or on the stream of parked messages. Each is compared
//! once, page by page, behind the durable; what is missing is looked for at the leader, twice, and
//! so is the message itself before it is handled, because a log may lose its end.

use std::collections::HashSet;
use std::time::Duration;

use tokio::time::Instant;

use super::evidence;
use crate::broker::{DurableState, Stored, Unavailable};
use crate::flow::Durable;
use crate::pipeline::Worker;
use crate::telemetry;

/// Messages compared at a time, and most that are missed at a time. The broker answers for at most
/// 1,024 subjects.
const PAGE: usize = 512;

/// How far before its start a replica compares, in messages of the stream: others have compared
/// what is older, unless none ran.
const LOOK_BACK: u64 = 10_000;

/// Longest wait before a message is handed out again: what gives it back may ask for as much, and
/// nobody hears it.
const AGAIN_MOST: Duration = Duration::from_secs(300);

/// Where the search is.
#[derive(Debug)]
pub(super) struct Search {
    /// For each filter, up to where messages were compared.
    compared: Vec<u64>,
    /// A while ago the durable had passed these, so that a replica that lags shows them by now.
    shown: (Instant, u64),
    suspects: Vec<Suspect>,
}

/// A message that nothing came of, as far as one look says.
#[derive(Debug)]
struct Suspect {
    message: Stored,
    not_before: Instant,
    /// How often it was handed out.
    times: u32,
}

/// A message that the durable has passed, that nobody holds, and that nothing came of.
#[derive(Debug)]
pub(super) struct Passed {
    pub(super) message: Stored,
    /// How often it was handed out, this time included.
    pub(super) times: u32,
}

/// Up to here the durable delivers nothing again.
fn passed(state: &DurableState) -> u64 {
    if state.in_hand == 0 { state.delivered } else { state.settled }
}

impl Search {
    pub(super) fn of(durable: &Durable, state: &DurableState) -> Self {
        let begin = passed(state).saturating_sub(LOOK_BACK);
        let compared = vec![begin; durable.filters.len()];
        Self { compared, shown: (Instant::now(), begin), suspects: Vec::new() }
    }

    /// Whether there may be more to compare.
    pub(super) fn is_behind(&self, state: &DurableState) -> bool {
        let full = self.suspects.len() >= PAGE;
        !full && self.compared.iter().any(|compared| compared + PAGE as u64 <= passed(state))
    }

    /// Compares the next page, and says what was suspected before and still is.
    pub(super) async fn look(
        &mut self,
        worker: &Worker,
        durable: &Durable,
        state: &DurableState,
        confirm_after: Duration,
    ) -> Result<Vec<Passed>, Unavailable> {
        let passed = passed(state);
        let (mut confirmed, mut at) = (Vec::new(), 0);
        while let Some(suspect) = self.suspects.get_mut(at) {
            // A durable that was reset delivers it again.
            let is_passed = suspect.message.sequence <= passed;
            if !is_passed || !evidence::is_undone(worker, durable, &suspect.message, passed).await?
            {
                self.suspects.remove(at);
                continue;
            }
            let now = Instant::now();
            if now >= suspect.not_before {
                if !evidence::is_in_the_log(worker, durable, &suspect.message).await? {
                    // The log has lost its end, and has not been compared from there on.
                    let lost = suspect.message.sequence;
                    self.suspects.retain(|suspect| suspect.message.sequence < lost);
                    for compared in &mut self.compared {
                        *compared = (*compared).min(lost - 1);
                    }
                    return Ok(confirmed);
                }
                suspect.times += 1;
                // Twice as long each time, and spread, so that seldom two replicas run it at once.
                let wait = confirm_after * 2 * (1 << suspect.times.min(10));
                suspect.not_before = now + wait.min(AGAIN_MOST).mul_f64(0.5 + fastrand::f64());
                confirmed.push(confirm(worker, durable, suspect));
            }
            at += 1;
        }
        for (at, filter) in durable.filters.iter().enumerate() {
            if self.suspects.len() < PAGE {
                self.compare(worker, durable, (at, filter), passed, confirm_after).await?;
            }
        }
        if self.shown.0.elapsed() >= confirm_after {
            self.shown = (Instant::now(), passed);
        }
        Ok(confirmed)
    }

    async fn compare(
        &mut self,
        worker: &Worker,
        durable: &Durable,
        (at, filter): (usize, &str),
        passed: u64,
        confirm_after: Duration,
    ) -> Result<(), Unavailable> {
        let from = self.compared[at] + 1;
        if from > passed {
            return Ok(());
        }
        let page = worker.broker.read_matching(&durable.stream, filter, from, PAGE).await?;
        let is_all = page.messages.len() < PAGE;
        let messages: Vec<_> =
            page.messages.into_iter().filter(|stored| stored.sequence <= passed).collect();
        let last = messages.last().map_or(0, |stored| stored.sequence);
        let slots = messages.iter().map(|stored| evidence::slot(worker, durable, stored));
        let slots: Vec<_> = slots.collect();
        let asked = slots.iter().flatten().cloned().collect();
        let found = worker.broker.last_of_many(worker.flow.stream, asked).await?;
        let found: HashSet<_> = found.into_iter().map(|stored| stored.subject).collect();
        // Spread, so that seldom two replicas run it at once.
        let not_before = Instant::now() + confirm_after.mul_f64(1.0 + fastrand::f64());
        let mut suspects = Vec::new();
        for (message, slot) in messages.into_iter().zip(slots) {
            let is_missing = slot.is_some_and(|slot| !found.contains(&slot));
            // A replica that lags misses some, and not everything needs that slot.
            if is_missing && evidence::is_undone(worker, durable, &message, passed).await? {
                suspects.push(Suspect { message, not_before, times: 0 });
            }
        }
        self.suspects.append(&mut suspects);
        // Not up to where the durable is now, because a replica that lags shows less.
        let shown = if is_all { self.shown.1 } else { 0 };
        self.compared[at] = self.compared[at].max(last).max(shown);
        Ok(())
    }
}

fn confirm(worker: &Worker, durable: &Durable, suspect: &Suspect) -> Passed {
    let Suspect { message, times, .. } = suspect;
    if times.is_power_of_two() {
        tracing::error!(
            durable = durable.name,
            subject = worker.broker.shown(&message.subject),
            sequence = message.sequence,
            times,
            "step-not-delivered: the durable is past this message, no replica holds it, and its \
             slot is empty; it is handled from the log"
        );
    }
    if *times == 1 {
        telemetry::passed_over(&durable.name);
    }
    Passed { message: message.clone(), times: *times }
}

#[cfg(test)]
mod tests;
