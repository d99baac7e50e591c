//! Whether something came of a message, by what the leader has: every ending of a handling leaves
//! something. What no rule here knows counts as ended, so only positive evidence runs a message.

use crate::SagaId;
use crate::broker::{Care, Stored, Unavailable};
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

/// Whether the leader has this very message: a log may lose its end, and come to hold another
/// message of the same sequence.
pub(super) async fn is_in_the_log(
    worker: &Worker,
    durable: &Durable,
    message: &Stored,
) -> Result<bool, Unavailable> {
    let Stored { subject, sequence, stored_at, .. } = message;
    let page = worker.broker.read_page(&durable.stream, *sequence, 1, Care::Careful).await?;
    Ok(page.messages.first().is_some_and(|found| {
        (&found.subject, &found.sequence, &found.stored_at) == (subject, sequence, stored_at)
    }))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::desk::{Desk, FLOW};

    /// Whether `message` is still to be handled, when its durable has passed all that there is.
    async fn is_missed(desk: &Desk, role: Role, message: &Stored) -> bool {
        let durable = desk.durable(role);
        let passed = desk.log.messages(&durable.stream).len() as u64;
        is_undone(&desk.worker, &durable, message, passed).await.unwrap()
    }

    fn parks(desk: &Desk, sequence: u64) -> Stored {
        let subject = parked::subject(&FLOW, desk.worker.name(), Some(&desk.saga));
        let entry = serde_json::json!({
            "parked_at": "2026-01-01T00:00:00Z", "durable": "", "reason": "", "pointer": "",
            "message": "", "deliveries": 1, "subject": "", "sequence": sequence,
            "stored_at": "2026-01-01T00:00:00Z", "headers": [], "payload_base64": "",
        });
        assert!(serde_json::from_value::<ParkedEntry>(entry.clone()).is_ok(), "{entry}");
        desk.log.store(&FLOW.parked_stream(), &subject, entry.to_string().into())
    }

    #[tokio::test(start_paused = true)]
    async fn a_trigger_is_missed_until_its_step_decides_or_its_saga_is_closed() {
        let missed = async |write: fn(&Desk)| {
            let desk = Desk::of("charge-card");
            desk.opened();
            let booked = desk.done("book-hotel");
            write(&desk);
            is_missed(&desk, Role::Forward, &booked).await
        };
        assert!(missed(|_| {}).await);
        assert!(!missed(|desk| drop(desk.done("charge-card"))).await);
        assert!(!missed(|desk| drop(desk.refused("charge-card"))).await);
        assert!(!missed(|desk| drop(desk.bare("card", "junk"))).await);
        assert!(!missed(|desk| drop(desk.done("confirm-trip"))).await);
        assert!(missed(|desk| drop(desk.signal())).await, "its undo may need a decision");
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_that_is_parked_or_is_no_trigger_is_not_missed() {
        let desk = Desk::of("charge-card");
        desk.opened();
        let booked = desk.done("book-hotel");
        parks(&desk, booked.sequence + 1);
        assert!(is_missed(&desk, Role::Forward, &booked).await, "an earlier log's was parked");
        parks(&desk, booked.sequence);
        assert!(!is_missed(&desk, Role::Forward, &booked).await);
        let subject = parked::subject(&FLOW, "charge-card", Some(&desk.saga));
        desk.log.store(&FLOW.parked_stream(), &subject, "junk".into());
        assert!(is_missed(&desk, Role::Forward, &booked).await, "what cannot be read says nothing");
        let desk = Desk::of("charge-card");
        desk.opened();
        let refused = desk.refused("book-hotel");
        assert!(!is_missed(&desk, Role::Forward, &refused).await, "a refusal is no trigger");
        let stray = Stored { subject: "other.hotel.T1".to_owned(), ..refused };
        assert!(!is_missed(&desk, Role::Forward, &stray).await, "of no saga");
    }

    /// A parcel goes only where the saga has not been stopped.
    #[tokio::test(start_paused = true)]
    async fn behind_a_stop_nothing_is_missed() {
        for (pivot, missed) in [
            (None, true),
            (Some(("buy-ticket", "trip.go.v1")), true),
            (Some(("confirm-trip", "trip.stop.v1")), false),
            (Some(("charge-card", "trip.go.v1")), false),
        ] {
            let desk = Desk::of("buy-ticket");
            let charged = desk.done("charge-card");
            if let Some(pivot) = pivot {
                desk.event("pivot", pivot, "card");
            }
            assert_eq!(is_missed(&desk, Role::Forward, &charged).await, missed, "{pivot:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_release_is_missed_as_long_as_its_message_waits() {
        let release = |desk: &Desk, durable: &str, body: &'static str| {
            let subject = FLOW.released(durable, &desk.saga);
            desk.log.store(&FLOW.parked_stream(), &subject, body.into())
        };
        let retried = async |write: fn(&Desk), body| {
            let desk = Desk::of("charge-card");
            write(&desk);
            let release = release(&desk, "charge-card", body);
            is_missed(&desk, Role::Released, &release).await
        };
        let booked = |desk: &Desk| drop(desk.done("book-hotel"));
        assert!(retried(booked, "{}").await);
        assert!(!retried(|_| {}, "{}").await, "nothing is there to release");
        assert!(!retried(booked, r#"{"verdict":"refuse"}"#).await, "its step asks only");
        assert!(!retried(booked, r#"{"verdict":"other"}"#).await);
        let charged = |desk: &Desk| _ = (desk.done("book-hotel"), desk.done("charge-card"));
        assert!(!retried(charged, "{}").await);
        let desk = Desk::of("charge-card");
        let booked = desk.done("book-hotel");
        parks(&desk, booked.sequence);
        let mine = release(&desk, "charge-card", "{}");
        assert!(is_missed(&desk, Role::Released, &mine).await, "it was parked before");
        parks(&desk, booked.sequence);
        assert!(!is_missed(&desk, Role::Released, &mine).await, "it is parked again");
        let other = release(&desk, "confirm-trip-cancel", "{}");
        assert!(!is_missed(&desk, Role::Released, &other).await, "a wish");
    }

    /// Money that is owed, or a room that stays booked.
    #[tokio::test(start_paused = true)]
    async fn an_undo_is_missed_where_the_log_says_that_it_is_due() {
        let missed = async |write: fn(&Desk)| {
            let desk = Desk::of("charge-card");
            for worker in ["book-hotel", "charge-card"] {
                desk.done(worker);
            }
            write(&desk);
            let signal = desk.signal();
            is_missed(&desk, Role::Undo, &signal).await
        };
        let stop =
            |desk: &Desk| drop(desk.event("pivot", ("confirm-trip", "trip.stop.v1"), "card"));
        assert!(missed(stop).await);
        assert!(!missed(|_| {}).await, "a forged signal says nothing");
        assert!(!missed(|desk| _ = (desk.refused("buy-ticket"), desk.undone("charge-card"))).await);
        assert!(!missed(|desk| _ = (desk.refused("buy-ticket"), desk.done("confirm-trip"))).await);
        let desk = Desk::of("charge-card");
        let refused = desk.refused("charge-card");
        assert!(is_missed(&desk, Role::Undo, &desk.signal()).await, "it may have acted");
        let durable = desk.durable(Role::Undo);
        let early = is_undone(&desk.worker, &durable, &desk.signal(), refused.sequence).await;
        assert!(!early.unwrap(), "a later message wakes it, too, and was not passed");
        let stray = Stored { subject: "other.refused.T1".to_owned(), ..desk.signal() };
        assert!(!is_missed(&desk, Role::Undo, &stray).await, "of no saga");
    }

    #[tokio::test(start_paused = true)]
    async fn a_closing_is_missed_once_all_is_undone() {
        let missed = async |write: fn(&Desk)| {
            let desk = Desk::of("confirm-trip");
            desk.done("book-hotel");
            write(&desk);
            let undone = desk.undone("book-hotel");
            (is_missed(&desk, Role::Closing, &undone).await, desk, undone)
        };
        let (is_missed, desk, undone) = missed(|desk| drop(desk.refused("charge-card"))).await;
        assert!(is_missed);
        let durable = desk.durable(Role::Closing);
        let early = is_undone(&desk.worker, &durable, &undone, undone.sequence - 1).await;
        assert!(!early.unwrap(), "the durable has not come to it");
        assert!(!missed(|_| {}).await.0, "a stray undo says nothing");
        let closed = |desk: &Desk| {
            desk.refused("charge-card");
            desk.event("closed", ("confirm-trip", "trip.cancelled.v1"), "asked");
        };
        assert!(!missed(closed).await.0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_wish_is_missed_until_it_has_an_answer() {
        let missed = async |write: fn(&Desk)| {
            let desk = Desk::of("confirm-trip");
            desk.opened();
            write(&desk);
            let wish = desk.bare("cancel", "");
            is_missed(&desk, Role::Cancel, &wish).await
        };
        assert!(missed(|_| {}).await);
        assert!(!missed(|desk| drop(desk.signal())).await);
        assert!(!missed(|desk| drop(desk.done("confirm-trip"))).await);
        assert!(!missed(|desk| drop(desk.bare("cancel-refused", "{}"))).await);
        let desk = Desk::of("confirm-trip");
        let opened = desk.opened();
        assert!(!is_missed(&desk, Role::Deadline(None), &opened).await, "it is to be far behind");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_compared_is_the_slot_that_the_usual_course_fills() {
        let slot_of = |worker, role, message: fn(&Desk) -> Stored| {
            let desk = Desk::of(worker);
            slot(&desk.worker, &desk.durable(role), &message(&desk))
        };
        let is = |slot: &str| Some(format!("trips.{slot}.T1"));
        let booked = |desk: &Desk| desk.done("book-hotel");
        assert_eq!(slot_of("charge-card", Role::Forward, booked), is("card"));
        assert_eq!(slot_of("charge-card", Role::Undo, |desk| desk.signal()), is("card-undo"));
        assert_eq!(slot_of("confirm-trip", Role::Closing, booked), is("closed"));
        assert_eq!(slot_of("confirm-trip", Role::Cancel, |d| d.bare("cancel", "")), is("refused"));
        assert_eq!(slot_of("confirm-trip", Role::Deadline(None), |desk| desk.opened()), None);
        let released = |desk: &Desk| {
            let subject = FLOW.released("charge-card", &desk.saga);
            desk.log.store(&FLOW.parked_stream(), &subject, "{}".into())
        };
        assert_eq!(slot_of("charge-card", Role::Released, released), is("card"));
        assert_eq!(slot_of("buy-ticket", Role::Released, released), None, "another worker's");
    }
}
