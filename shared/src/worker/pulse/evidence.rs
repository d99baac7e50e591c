//! Whether something came of a message, by what the leader has: every ending of a handling leaves
//! something. What no rule here knows counts as ended, so only positive evidence runs a message.

use crate::SagaId;
use crate::broker::{Stored, Unavailable};
use crate::flow::{Durable, Role};
use crate::log::parked::{self, Entry as ParkedEntry, Verdict};
use crate::log::slots::{self, Entry};
use crate::pipeline::{Worker, verdict};
use crate::topology::parked_stream_name;
use crate::undo::view;

/// The slot that is filled where a message of this durable took its usual course; `None` for what
/// is not compared.
pub(super) fn slot(worker: &Worker, durable: &Durable, message: &Stored) -> Option<String> {
    let saga = saga(worker, durable, message)?;
    let name = match durable.role {
        Role::Forward | Role::Closing | Role::Released => worker.row.slot,
        Role::Undo => worker.row.undo?.slot,
        Role::Cancel => worker.flow.turns.slot,
        Role::Deadline(_) => return None,
    };
    Some(worker.slot(name, &saga).subject().to_owned())
}

/// Whether a message that its durable has passed is still to be handled. `passed` is how far the
/// durable is.
pub(super) async fn is_undone(
    worker: &Worker,
    durable: &Durable,
    message: &Stored,
    passed: u64,
) -> Result<bool, Unavailable> {
    let Some(saga) = saga(worker, durable, message) else { return Ok(false) };
    let closing = worker.flow.closing().slot;
    match durable.role {
        Role::Forward => Ok(waits_for_its_step(worker, &saga, message).await?
            && !is_parked(worker, durable, &saga, message).await?),
        Role::Released => {
            let Some(trigger) = last(worker, worker.row.on, &saga).await? else { return Ok(false) };
            Ok(verdict(&message.payload) == Some(Verdict::Retry)
                && waits_for_its_step(worker, &saga, &trigger).await?
                && !is_parked_again(worker, &saga, message).await?)
        }
        Role::Undo => {
            let Some(undo) = worker.row.undo else { return Ok(false) };
            Ok(view::is_to_undo(worker, &saga, message).await?
                && is_empty(worker, &[undo.slot, closing], &saga).await?
                && has_passed_all(worker, durable, &saga, passed).await?)
        }
        Role::Closing => Ok(view::is_to_close(worker, &saga, message).await?
            && is_empty(worker, &[closing], &saga).await?
            && has_passed_all(worker, durable, &saga, passed).await?),
        Role::Cancel => {
            let Some(cancels) = worker.flow.cancels() else { return Ok(false) };
            let ends = [worker.flow.turns.slot, cancels.refused.slot, closing];
            is_empty(worker, &ends, &saga).await
        }
        Role::Deadline(_) => Ok(false),
    }
}

fn saga(worker: &Worker, durable: &Durable, message: &Stored) -> Option<SagaId> {
    let flow = worker.flow;
    if durable.role != Role::Released {
        return Some(flow.parse_subject(&message.subject)?.1);
    }
    // A cancellation that is asked for again leaves nothing new where it comes too late.
    let (released, saga) = flow.parse_released(&message.subject)?;
    (released == worker.name()).then_some(saga)
}

/// Whether a step is to decide on its trigger, and has not. A saga that is closed without it is of
/// an earlier flow.
async fn waits_for_its_step(
    worker: &Worker,
    saga: &SagaId,
    trigger: &Stored,
) -> Result<bool, Unavailable> {
    let (flow, row) = (worker.flow, worker.row);
    // A refusal in the slot that it reacts to is no trigger.
    if let Some(before) = flow.decides(row.on) {
        let record = slots::record(flow, row.on, saga, trigger);
        let refused = |record: &slots::Record| before.refused == Some(record.event_type.as_str());
        if record.as_ref().is_some_and(refused) {
            return Ok(false);
        }
    }
    if !is_empty(worker, &[row.slot, flow.closing().slot], saga).await? {
        return Ok(false);
    }
    let Some(pivot) = row.pivot else { return Ok(true) };
    let passed = last(worker, pivot.slot, saga).await?;
    Ok(match passed.map(|stored| slots::pivot(flow, row, saga, &stored)) {
        None | Some(Entry::Done(_)) => true,
        Some(Entry::Refused(_) | Entry::Alien) => false,
    })
}

/// Whether the durable has passed whatever wakes it for a saga. Of several messages the last one
/// does the work, and while a replica holds that one the others were rightly acknowledged.
async fn has_passed_all(
    worker: &Worker,
    durable: &Durable,
    saga: &SagaId,
    passed: u64,
) -> Result<bool, Unavailable> {
    for filter in &durable.filters {
        let Some(before) = filter.strip_suffix('*') else { return Ok(false) };
        let subject = format!("{before}{saga}");
        let newest = worker.broker.last(&durable.stream, &subject).await?;
        if newest.is_some_and(|newest| newest.sequence > passed) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether the forward durable set this very message aside.
async fn is_parked(
    worker: &Worker,
    durable: &Durable,
    saga: &SagaId,
    message: &Stored,
) -> Result<bool, Unavailable> {
    let subject = parked::subject(worker.flow, &durable.name, Some(saga));
    let found = worker.broker.last(&parked_stream_name(worker.flow), &subject).await?;
    Ok(found.is_some_and(|found| {
        serde_json::from_slice::<ParkedEntry>(&found.payload)
            .is_ok_and(|entry| entry.parked.sequence == message.sequence)
    }))
}

/// Whether a message was set aside again after this release of it.
async fn is_parked_again(
    worker: &Worker,
    saga: &SagaId,
    release: &Stored,
) -> Result<bool, Unavailable> {
    let subject = parked::subject(worker.flow, worker.name(), Some(saga));
    let found = worker.broker.last(&parked_stream_name(worker.flow), &subject).await?;
    Ok(found.is_some_and(|found| found.sequence > release.sequence))
}

async fn is_empty(
    worker: &Worker,
    slots: &[&'static str],
    saga: &SagaId,
) -> Result<bool, Unavailable> {
    for slot in slots {
        if last(worker, slot, saga).await?.is_some() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// From the leader.
async fn last(
    worker: &Worker,
    slot: &'static str,
    saga: &SagaId,
) -> Result<Option<Stored>, Unavailable> {
    worker.broker.last(worker.flow.stream, worker.slot(slot, saga).subject()).await
}
