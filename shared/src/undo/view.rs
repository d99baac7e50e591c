//! What an undo sees in the slots of a saga, and the rule it follows: the first line that fits,
//! decided on what is seen, never on what is not seen.

use std::collections::{BTreeSet, HashMap};

use futures::future::try_join_all;
use tokio::time::Instant;

use crate::broker::{Stored, Unavailable};
use crate::flow::Row;
use crate::log::slots::{self, Entry, Record};
use crate::pipeline::{Delivery, Ending, Worker, retry};
use crate::{Flow, SagaId, telemetry};

/// The slots of one saga, as far as an undo or a closing looks at them.
#[derive(Debug, Default)]
pub(crate) struct View {
    /// One per step, in the order of the flow.
    decisions: Vec<Option<Entry>>,
    undone: Vec<Option<Entry>>,
    /// The pivot's slot: `Refused` is stop.
    pivot: Option<Entry>,
    /// Whether the event that opens the saga is there.
    pub(super) is_opened: bool,
    /// What the step reacted to.
    pub(super) trigger: Option<Stored>,
}

/// What an undo durable does about what it sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The effect is recorded, and everything after it is taken back.
    UndoRecorded(Record),
    /// The step may have acted, although its slot holds a refusal.
    UndoUnknown,
    /// Nothing to do for this message, and why: already undone, closed, not this step's to undo, or
    /// a later step undoes first and then wakes this one again.
    Settled(&'static str, Record),
    /// No slot says why it was woken: a stale read, or a forged signal.
    LookAgain,
    /// The step's own slot cannot be read, so it cannot be told whether the step acted.
    Blocked,
}

impl View {
    /// Reads every slot of a saga that matters to an undo, from any replica, because what is found
    /// there is true whoever says so. A replica may lag, but not behind the message that wakes: it
    /// may be the last one that ever does, so what it says is seen.
    async fn look(worker: &Worker, saga: &SagaId, waking: &Stored) -> Result<Self, Unavailable> {
        let flow = worker.flow;
        let steps = flow.steps.iter();
        let pivot = steps.clone().find_map(|step| step.pivot.map(|pivot| pivot.slot));
        let names: BTreeSet<&'static str> = [flow.opens.slot, worker.row.on]
            .into_iter()
            .chain(steps.clone().map(|step| step.slot))
            .chain(steps.filter_map(|step| step.undo.map(|undo| undo.slot)))
            .chain(pivot)
            .collect();
        let reads = names.into_iter().map(|name| async move {
            let slot = worker.slot(name, saga);
            let read = worker.lookup.last(slot.subject()).await;
            read.map(|found| found.map(|stored| (name, stored)))
        });
        let found = try_join_all(reads).await?.into_iter().flatten().collect();
        Ok(Self::of(flow, worker.row, saga, found, waking))
    }

    /// What a step sees in these slots, and in the message that woke it.
    fn of<'n>(
        flow: &Flow,
        row: &Row,
        saga: &SagaId,
        mut found: HashMap<&'n str, Stored>,
        waking: &'n Stored,
    ) -> Self {
        if let Some((slot, _)) = flow.parse_subject(&waking.subject) {
            found.insert(slot, waking.clone());
        }
        let steps = flow.steps.iter();
        let pivot = steps.clone().find_map(|step| step.pivot.map(|pivot| (step, pivot.slot)));
        let decided = |step: &Row| {
            let stored = found.get(step.slot)?;
            Some(slots::decision(flow, step, saga, stored))
        };
        let undone = |step: &Row| {
            let stored = found.get(step.undo?.slot)?;
            Some(slots::undone(flow, step, saga, stored))
        };
        Self {
            decisions: steps.clone().map(decided).collect(),
            undone: steps.map(undone).collect(),
            pivot: pivot
                .and_then(|(step, slot)| Some(slots::pivot(flow, step, saga, found.get(slot)?))),
            is_opened: found.contains_key(flow.opens.slot),
            trigger: found.get(row.on).cloned(),
        }
    }

    /// The same, but tries again until there is an answer, as long as the message may be held.
    pub(super) async fn look_until_answered(
        worker: &Worker,
        delivery: &Delivery,
    ) -> Result<Self, Ending> {
        let held_since = Instant::now();
        let mut attempt = 0;
        loop {
            attempt += 1;
            match Self::look(worker, &delivery.saga, delivery.message()).await {
                Ok(view) => return Ok(view),
                Err(Unavailable(why)) => {
                    telemetry::unanswered(worker.name(), &why, attempt);
                    worker.pause(retry::BROKER.wait(attempt), held_since).await?;
                }
            }
        }
    }

    /// The rule of undo for `step`: the first line that fits.
    pub(crate) fn verdict(&self, flow: &Flow, step: &Row) -> Verdict {
        let at = position(flow, step);
        let own = &self.decisions[at];
        if let Some(Entry::Done(record)) = &self.undone[at] {
            return Verdict::Settled("undone", record.clone());
        }
        if let Some(Entry::Refused(_)) = own {
            return Verdict::UndoUnknown;
        }
        if let Some(Entry::Done(record)) = own {
            let next = flow.undone_before(step.worker).map(|next| position(flow, next));
            let everything_after_is_undone = match next {
                Some(next) => matches!(self.undone[next], Some(Entry::Done(_))),
                None => self.turned(flow).is_some(),
            };
            if everything_after_is_undone {
                return Verdict::UndoRecorded(record.clone());
            }
            let later = flow.undoable().skip_while(|row| row.worker != step.worker).skip(1);
            if let Some(refusal) = self.refused(flow, later).or_else(|| self.turned(flow)) {
                return Verdict::Settled("a later step undoes first", refusal);
            }
        }
        let earlier = flow.undoable().take_while(|row| row.worker != step.worker);
        if let Some(refusal) = self.refused(flow, earlier) {
            return Verdict::Settled("an earlier step was refused", refusal);
        }
        match self.closed(flow) {
            Some(record) => Verdict::Settled("closed", record),
            None if *own == Some(Entry::Alien) => Verdict::Blocked,
            None => Verdict::LookAgain,
        }
    }

    /// The refusal of one of these steps.
    fn refused(&self, flow: &Flow, steps: impl Iterator<Item = &'static Row>) -> Option<Record> {
        steps.map(|step| &self.decisions[position(flow, step)]).find_map(|entry| match entry {
            Some(Entry::Refused(record)) => Some(record.clone()),
            Some(Entry::Done(_) | Entry::Alien) | None => None,
        })
    }

    /// The stop at the pivot, or the refusal of a step after it: either way, all that was done is
    /// to be undone.
    fn turned(&self, flow: &Flow) -> Option<Record> {
        let after = flow.steps.iter().filter(|step| step.undo.is_none() && step.refused.is_some());
        match &self.pivot {
            Some(Entry::Refused(stop)) => Some(stop.clone()),
            Some(Entry::Done(_) | Entry::Alien) | None => self.refused(flow, after),
        }
    }

    /// What closed the saga: completed or cancelled.
    pub(crate) fn closed(&self, flow: &Flow) -> Option<Record> {
        match &self.decisions[position(flow, flow.closing())] {
            Some(Entry::Done(record) | Entry::Refused(record)) => Some(record.clone()),
            Some(Entry::Alien) | None => None,
        }
    }

    /// Whether the log holds the last undo of all, and a refusal or stop that explains it.
    pub(crate) fn all_undone(&self, flow: &Flow) -> bool {
        let first = flow.undoable().next().map(|step| position(flow, step));
        let undone = first.is_some_and(|at| matches!(self.undone[at], Some(Entry::Done(_))));
        undone && self.refused(flow, flow.undoable()).or_else(|| self.turned(flow)).is_some()
    }
}

/// Whether what is seen of a saga, this message included, says that this worker's step is to be
/// undone now.
pub(crate) async fn is_to_undo(
    worker: &Worker,
    saga: &SagaId,
    waking: &Stored,
) -> Result<bool, Unavailable> {
    let view = View::look(worker, saga, waking).await?;
    Ok(match view.verdict(worker.flow, worker.row) {
        Verdict::UndoRecorded(_) | Verdict::UndoUnknown => true,
        Verdict::Settled(..) | Verdict::LookAgain | Verdict::Blocked => false,
    })
}

/// The same of closing it.
pub(crate) async fn is_to_close(
    worker: &Worker,
    saga: &SagaId,
    waking: &Stored,
) -> Result<bool, Unavailable> {
    Ok(View::look(worker, saga, waking).await?.all_undone(worker.flow))
}

fn position(flow: &Flow, step: &Row) -> usize {
    flow.steps.iter().position(|row| row.worker == step.worker).expect("a row of this table")
}

#[cfg(test)]
mod tests;
