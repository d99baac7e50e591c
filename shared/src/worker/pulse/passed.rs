//! The messages that a durable has passed although nothing came of them.
//!
//! An acknowledgement needs a decision, so of what a durable has passed, and no replica holds, each
//! message has left something in the log or on the stream of parked messages. Each is compared
//! once, page by page, behind the durable; what is missing is looked for at the leader, twice.

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

/// Where the search is.
#[derive(Debug)]
pub(super) struct Search {
    /// For each filter, the last message that was compared.
    compared: Vec<u64>,
    suspects: Vec<Suspect>,
}

/// A message that nothing came of, as far as one look says.
#[derive(Debug)]
struct Suspect {
    message: Stored,
    since: Instant,
    /// How often it was handed out.
    times: u32,
}

/// A message that the durable has passed, that nobody holds, and that nothing came of.
#[derive(Debug)]
pub(super) struct Passed {
    pub(super) message: Stored,
    shown: String,
}

impl Passed {
    /// For whoever asks why the worker is not ready.
    pub(super) fn sentence(&self, count: usize) -> String {
        let (shown, sequence) = (&self.shown, self.message.sequence);
        let others = match count - 1 {
            0 => String::new(),
            others => format!(", and {others} more"),
        };
        format!(
            "step-not-delivered: message {sequence} ({shown}){others}: the durable is past it, no \
             replica holds it, and its slot is empty; it is handled from the log"
        )
    }
}

/// Up to here the durable delivers nothing again.
fn passed(state: &DurableState) -> u64 {
    if state.in_hand == 0 { state.delivered } else { state.settled }
}

impl Search {
    pub(super) fn of(durable: &Durable, state: &DurableState) -> Self {
        let begin = passed(state).saturating_sub(LOOK_BACK);
        Self { compared: vec![begin; durable.filters.len()], suspects: Vec::new() }
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
        let mut confirmed = Vec::new();
        for mut suspect in std::mem::take(&mut self.suspects) {
            // A durable that was reset delivers it again.
            let is_passed = suspect.message.sequence <= passed;
            if !is_passed || !evidence::is_undone(worker, durable, &suspect.message).await? {
                continue;
            }
            if suspect.since.elapsed() >= confirm_after {
                suspect.times += 1;
                confirmed.push(confirm(worker, durable, &suspect));
            }
            self.suspects.push(suspect);
        }
        for (at, filter) in durable.filters.iter().enumerate() {
            if self.suspects.len() < PAGE {
                self.compare(worker, durable, (at, filter), passed).await?;
            }
        }
        Ok(confirmed)
    }

    async fn compare(
        &mut self,
        worker: &Worker,
        durable: &Durable,
        (at, filter): (usize, &str),
        passed: u64,
    ) -> Result<(), Unavailable> {
        let from = self.compared[at] + 1;
        if from > passed {
            return Ok(());
        }
        let page = worker.broker.read_matching(&durable.stream, filter, from, PAGE).await?;
        let messages: Vec<_> =
            page.messages.into_iter().filter(|stored| stored.sequence <= passed).collect();
        let Some(last) = messages.last().map(|stored| stored.sequence) else { return Ok(()) };
        let slots = messages.iter().map(|stored| evidence::slot(worker, durable, stored));
        let slots: Vec<_> = slots.collect();
        let asked = slots.iter().flatten().cloned().collect();
        let found = worker.broker.last_of_many(worker.flow.stream, asked).await?;
        let found: HashSet<_> = found.into_iter().map(|stored| stored.subject).collect();
        let since = Instant::now();
        let mut suspects = Vec::new();
        for (message, slot) in messages.into_iter().zip(slots) {
            let is_missing = slot.is_some_and(|slot| !found.contains(&slot));
            // A replica that lags misses some, and not everything needs that slot.
            if is_missing && evidence::is_undone(worker, durable, &message).await? {
                suspects.push(Suspect { message, since, times: 0 });
            }
        }
        self.suspects.append(&mut suspects);
        // Not up to where the durable is, because a replica that lags shows less.
        self.compared[at] = last;
        Ok(())
    }
}

fn confirm(worker: &Worker, durable: &Durable, suspect: &Suspect) -> Passed {
    let Suspect { message, times, .. } = suspect;
    let shown = worker.broker.shown(&message.subject);
    if times.is_power_of_two() {
        tracing::error!(
            durable = durable.name,
            subject = shown,
            sequence = message.sequence,
            times,
            "step-not-delivered: the durable is past this message, no replica holds it, and its \
             slot is empty; it is handled from the log"
        );
    }
    if *times == 1 {
        telemetry::passed_over(&durable.name);
    }
    Passed { message: message.clone(), shown }
}
