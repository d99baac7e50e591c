//! Writes what a step decided into its slot. If the slot already holds a decision, that decision
//! settles the message.
//!
//! What the slot holds counts, no matter who wrote it: a step that acted although its slot holds a
//! refusal takes its effect back.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::decode::Trigger;
use super::delivery::Ending;
use super::worker::Worker;
use super::write::{Resolved, write_once};
use super::{retry, signal};
use crate::event::runtime::Signal;
use crate::ids::Direction;
use crate::log::envelope::{Occasion, Outgoing, Work};
use crate::log::slots::{self, Entry, Record};
use crate::step::Outcome;
use crate::{BadData, Event, Reason, Refusal, failpoint, telemetry};

/// A log may lose its end while a trigger is in hand: a power cut, or an older copy of its store.
/// So an outcome that comes later than this after its trigger gets no seal, and the next worker
/// looks whether the trigger is still there. The same where the trigger did not come by a first
/// delivery: what a worker reads from the log may wait for its turn.
const SEALS_WITHIN: Duration = Duration::from_secs(2);

/// Proof that a slot is decided, and that the signal is in the log if the decision needs one.
#[derive(Debug)]
pub(crate) struct Committed {
    _made_here: (),
}

impl Committed {
    /// What an undo or the closing recorded is in its slot.
    pub(crate) fn undone() -> Self {
        Self { _made_here: () }
    }

    /// The log already holds what makes this delivery obsolete, such as a stop at the pivot.
    pub(crate) fn seen(_entry: &Record) -> Self {
        Self { _made_here: () }
    }
}

/// What became of a step's outcome.
pub(crate) enum Commit {
    /// The slot is decided, and the signal is in the log if the decision needs one.
    Settled(Committed),
    /// The step acted, but its slot holds a refusal: give the signal ([`refused`]), then take the
    /// effect back.
    TakeBack(Record),
}

/// Records the outcome of a run.
pub(crate) async fn commit<On, Done: Event, Refused: Refusal>(
    worker: &Worker,
    trigger: &Trigger<On>,
    outcome: &Outcome<Done, Refused>,
    work: Work,
) -> Result<Commit, Ending> {
    let event = outgoing(worker, trigger, outcome, work);
    let resolved = write_once(worker, &event, trigger.this.sequence).await?;
    failpoint::hit(Direction::Run, "after-commit");
    let stored = match resolved {
        Resolved::Written => {
            if let Outcome::Done(_) = outcome {
                worker.done.increment(1);
            }
            if let Outcome::Refused(refused) = outcome {
                telemetry::outcome(worker.name(), "refused", refused.reason());
                let (step, by) = (worker.name().to_owned(), worker.name().to_owned());
                let signal = Signal { step, reason: refused.reason().to_owned(), by };
                Box::pin(signal::give(worker, trigger, signal)).await?;
            }
            return Ok(Commit::Settled(Committed { _made_here: () }));
        }
        Resolved::Found(stored) => stored,
    };
    match (outcome, slots::decision(worker.flow, worker.row, &trigger.saga, &stored)) {
        (Outcome::Done(_), Entry::Refused(record)) => Ok(Commit::TakeBack(record)),
        (Outcome::Done(done), Entry::Done(record)) if !says_the_same(done, &record) => Err(
            orphan_effect(worker, trigger, "the step acted twice: its slot holds another outcome"),
        ),
        (Outcome::Done(_) | Outcome::Refused(_), entry) => {
            Box::pin(settle_found(worker, trigger, entry)).await.map(Commit::Settled)
        }
    }
}

/// Whether two runs of a step had one effect. Compares only the fields that both recorded, because
/// another version of the worker may know fewer fields or more, at any depth.
fn says_the_same<Done: Event>(done: &Done, record: &Record) -> bool {
    let read = |data: &str| serde_json::from_str::<Value>(data).unwrap_or_default();
    agree(&read(done.to_data().get()), &read(&record.data))
}

fn agree(ours: &Value, theirs: &Value) -> bool {
    match (ours, theirs) {
        (Value::Object(ours), Value::Object(theirs)) => {
            ours.iter().all(|(name, our)| theirs.get(name).is_none_or(|their| agree(our, their)))
        }
        (Value::Array(ours), Value::Array(theirs)) => {
            ours.len() == theirs.len()
                && ours.iter().zip(theirs).all(|(our, their)| agree(our, their))
        }
        (ours, theirs) => ours == theirs,
    }
}

/// An effect that no slot records: only a human can decide what to do about it.
pub(crate) fn orphan_effect<On>(worker: &Worker, trigger: &Trigger<On>, what: &str) -> Ending {
    tracing::error!(worker = worker.name(), saga = %trigger.saga, "orphan effect: {what}");
    Ending::Park(BadData::new(Reason::OrphanEffect, "", what))
}

fn outgoing<On, Done: Event, Refused: Refusal>(
    worker: &Worker,
    trigger: &Trigger<On>,
    outcome: &Outcome<Done, Refused>,
    work: Work,
) -> Outgoing {
    let (flow, name) = (worker.flow, worker.name());
    let slot = worker.slot(worker.row.slot, &trigger.saga);
    let occasion = worker.occasion(trigger.this.clone(), trigger.traceparent.clone());
    let is_fresh = trigger.deliveries == 1 && trigger.received.elapsed() < SEALS_WITHIN;
    let seal = worker.seal(slot.subject(), trigger.this.sequence).filter(|_| is_fresh);
    let occasion = Occasion { seal, work: Some(work), ..occasion };
    match outcome {
        Outcome::Done(done) => {
            let event = (done.event_type(), &*done.to_data());
            Outgoing::new(flow, slot, name, event, &occasion)
        }
        Outcome::Refused(refused) => {
            let event = (refused.event_type(), &*refused.to_data());
            Outgoing::new(flow, slot, name, event, &occasion)
        }
    }
}

/// Settles a trigger whose slot is already decided, no matter who decided it: a refusal needs its
/// signal.
pub(crate) async fn settle_found<On>(
    worker: &Worker,
    trigger: &Trigger<On>,
    entry: Entry,
) -> Result<Committed, Ending> {
    match entry {
        Entry::Done(record) => Ok(Committed::seen(&record)),
        Entry::Refused(record) => refused(worker, trigger, &record).await,
        Entry::Alien => Err(alien()),
    }
}

/// Settles a trigger whose slot holds a refusal.
pub(crate) async fn refused<On>(
    worker: &Worker,
    trigger: &Trigger<On>,
    refusal: &Record,
) -> Result<Committed, Ending> {
    signal::give(worker, trigger, signal::of(worker.name(), refusal)).await?;
    Ok(Committed::seen(refusal))
}

/// How often the worker reads the slot behind a fence; the last waits are 1 to 2 s. In all this is
/// longer than a deposed leader can go without knowing that it was deposed.
const LOOKS: u32 = 16;

/// Reads the step's own slot until it is decided. The run met a fence, and an undo sets a fence
/// only after the slot is decided. There is one exception: somebody took the effect back at the
/// service itself. Then nothing will ever decide the slot, and the message is parked.
pub(crate) async fn superseded<On>(
    worker: &Worker,
    trigger: &Trigger<On>,
) -> Result<Committed, Ending> {
    let slot = worker.slot(worker.row.slot, &trigger.saga);
    let why = "its effect is fenced off, but its slot is empty";
    let held_since = Instant::now();
    for attempt in 1..=LOOKS {
        if let Some(stored) = worker.last(&slot).await? {
            let entry = slots::decision(worker.flow, worker.row, &trigger.saga, &stored);
            return settle_found(worker, trigger, entry).await;
        }
        telemetry::attempt_failed(worker.name(), &[], &trigger.saga, attempt, why);
        worker.pause(retry::BROKER.wait(attempt), held_since).await?;
    }
    Err(Ending::Park(BadData::new(Reason::FencedOff, "", why)))
}

/// The slot holds an event whose source may not write it, or that is unreadable: no redelivery
/// changes that.
pub(crate) fn alien() -> Ending {
    let what = "its slot holds an event that its source may not write, or that is unreadable";
    Ending::Park(BadData::new(Reason::WrongSource, "", what))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::pipeline::decode::decode;
    use crate::step::Never;
    use crate::testing::desk::{Booked, Charged, Desk};

    /// Charges a card so long after the booking was delivered, and says which seal the charge has.
    async fn sealed_after(waited: Duration, deliveries: u64) -> (Desk, Option<uuid::Uuid>) {
        let desk = Desk::of("charge-card");
        desk.opened();
        let delivery = desk.delivery(desk.done("book-hotel"), deliveries);
        let trigger = decode::<Booked>(&desk.worker, &delivery).ok().unwrap();
        tokio::time::advance(waited).await;
        let charged = Outcome::<Charged, Never>::Done(Charged { reason: String::new() });
        let work = Work { attempt: 1, started: desk.log.now() };
        let committed = commit(&desk.worker, &trigger, &charged, work).await;
        assert!(matches!(committed, Ok(Commit::Settled(_))));
        let seal = desk.read("card", &desk.holds("card").unwrap()).seal;
        (desk, seal)
    }

    /// The log may lose its end while a step is slow, and with it the booking that is charged for.
    #[tokio::test(start_paused = true)]
    async fn only_an_outcome_that_comes_at_once_is_sealed() {
        let soon = SEALS_WITHIN - Duration::from_millis(1);
        let (desk, seal) = sealed_after(soon, 1).await;
        let slot = desk.worker.slot("card", &desk.saga);
        assert_eq!(seal, desk.worker.seal(slot.subject(), 2), "of its own slot and its cause");
        assert!(seal.is_some());
        assert_eq!(sealed_after(SEALS_WITHIN, 1).await.1, None);
        assert_eq!(sealed_after(soon, 3).await.1, None, "it may have waited since it was read");
    }

    #[test]
    fn outcomes_of_two_versions_agree_where_both_say_something() {
        let ours =
            json!({ "payment": "pi_1", "ship_to": { "country": "DE" }, "lines": [{ "n": 1 }] });
        let newer = json!({
            "payment": "pi_1", "ship_to": { "country": "DE", "region": "BE" },
            "lines": [{ "n": 1, "gift": true }], "fee": 3,
        });
        assert!(agree(&ours, &newer) && agree(&newer, &ours));
        for (place, other) in [
            ("/payment", json!("pi_2")),
            ("/ship_to/country", json!("AT")),
            ("/ship_to", json!(null)),
            ("/lines", json!([])),
            ("/lines/0/n", json!(2)),
        ] {
            let mut changed = newer.clone();
            *changed.pointer_mut(place).unwrap() = other;
            assert!(!agree(&ours, &changed) && !agree(&changed, &ours), "{place}");
        }
    }
}
