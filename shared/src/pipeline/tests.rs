//! One delivery from its start to its settlement, on a log in memory.

mod ahead;
mod released;
mod waits;
mod write;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, advance};

use super::*;
use crate::broker::{Published, Settle, Stored, StreamState, Unknown};
use crate::event;
use crate::event::runtime::Go;
use crate::log::envelope::Outgoing;
use crate::log::parked::Entry;
use crate::process::shutdown::Stop;
use crate::step::StepError;
use crate::testing::desk::{
    Booked, Charge, ChargeRefused, Charged, Desk, FLOW, LANDS_WITHIN, Opened, Ticket,
};
use crate::testing::memory::Memory;

const SECOND: Duration = Duration::from_secs(1);

/// A desk with a booking that is to be charged for.
fn booked() -> (Desk, Stored) {
    let desk = Desk::of("charge-card");
    desk.opened();
    let booked = desk.done("book-hotel");
    (desk, booked)
}

/// A desk with a charge for which a ticket is to be bought.
fn charged() -> (Desk, Stored) {
    let desk = Desk::of("buy-ticket");
    desk.done("book-hotel");
    let charged = desk.done("charge-card");
    (desk, charged)
}

async fn charges(desk: &Desk, message: &Stored, deliveries: u64, step: Charge) -> Undoable<Charge> {
    let part = Undoable(step);
    handle(&desk.worker, &part, desk.delivery(message.clone(), deliveries)).await;
    part
}

async fn buys(desk: &Desk, message: &Stored) -> Settling<Ticket> {
    let part = Settling(Ticket::default());
    handle(&desk.worker, &part, desk.delivery(message.clone(), 1)).await;
    part
}

fn settled(desk: &Desk) -> Vec<Settle> {
    std::mem::take(&mut desk.log.kept().settled)
}

/// Why messages were set aside.
fn parked(desk: &Desk) -> Vec<String> {
    let parked = desk.log.messages(&FLOW.parked_stream());
    let read = |stored: &Stored| serde_json::from_slice::<Entry>(&stored.payload).unwrap();
    parked.iter().map(|stored| read(stored).parked.reason).collect()
}

/// Writes into a slot while a step is at work, as another process does.
fn meanwhile(desk: &Desk, slot: &'static str, event: (&'static str, &'static str)) -> Writes {
    let (log, saga) = (desk.log.clone(), desk.saga.clone());
    Box::new(move || write_other(&log, &saga, slot, event))
}

type Writes = Box<dyn Fn() + Send + Sync>;

fn write_other(
    log: &Arc<Memory>,
    saga: &crate::SagaId,
    slot: &'static str,
    (source, event_type): (&'static str, &'static str),
) {
    let occasion = crate::log::envelope::Occasion {
        cause: None,
        traceparent: None,
        time: log.now(),
        seal: None,
        work: None,
    };
    let data = event::data(&Charged { reason: "other".to_owned() });
    let event = (event_type, &*data);
    let event = Outgoing::new(&FLOW, FLOW.slot(slot, saga), source, event, &occasion);
    if log.newest(FLOW.stream, event.slot.subject()).is_none() {
        log.store(FLOW.stream, event.slot.subject(), event.payload);
    }
}

#[tokio::test(start_paused = true)]
async fn a_booking_is_charged_for_recorded_and_settled() {
    let (desk, booked) = booked();
    let part = charges(&desk, &booked, 1, Charge::default()).await;
    assert_eq!(part.0.calls.made(), ["run"]);
    assert_eq!(desk.says("card").as_deref(), Some("card.charged.v1"));
    assert_eq!(settled(&desk), [Settle::Ack]);
    assert_eq!(desk.says("refused"), None);
    let asks_the_bucket = desk.log.kept().asked.iter().any(|key| key.starts_with("charge-card."));
    assert!(!asks_the_bucket, "a first delivery has no earlier one");
    let part = charges(&desk, &booked, 2, Charge::default()).await;
    assert_eq!(part.0.calls.made(), [""; 0], "it is charged already");
    assert_eq!(settled(&desk), [Settle::Ack]);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_charged_for_a_booking_of_no_saga() {
    let desk = Desk::of("charge-card");
    let booked = desk.done("book-hotel");
    advance(desk.worker.limits.cause_wait).await;
    let part = charges(&desk, &booked, 2, Charge::default()).await;
    assert_eq!(part.0.calls.made(), [""; 0]);
    assert_eq!(parked(&desk), ["no-cause"]);
}

/// Before the ticket is bought, the saga passes its pivot; behind a stop it never does.
#[tokio::test(start_paused = true)]
async fn a_ticket_is_bought_behind_go_and_never_behind_a_stop() {
    let (desk, charge) = charged();
    let part = buys(&desk, &charge).await;
    assert_eq!(part.0.calls.made(), ["run"]);
    assert_eq!(desk.says("pivot").as_deref(), Some("trip.go.v1"));
    let (desk, charge) = charged();
    desk.event("pivot", ("confirm-trip", "trip.stop.v1"), "card");
    let part = buys(&desk, &charge).await;
    assert_eq!(part.0.calls.made(), [""; 0]);
    assert_eq!(desk.says("refused").as_deref(), Some(FLOW.turns.event));
    assert_eq!(settled(&desk), [Settle::Ack]);
    let (desk, charge) = charged();
    desk.event("pivot", ("charge-card", "trip.go.v1"), "card");
    let part = buys(&desk, &charge).await;
    assert_eq!(part.0.calls.made(), [""; 0]);
    assert_eq!(parked(&desk), ["wrong-source"]);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_turns_the_saga_around() {
    let (desk, booked) = booked();
    let refuses = || {
        let long = "ä".repeat(200);
        let answer = Ok(Outcome::Refused(ChargeRefused { reason: long }));
        Charge { answers: Mutex::new([answer].into()), ..Charge::default() }
    };
    charges(&desk, &booked, 1, refuses()).await;
    assert_eq!(desk.says("card").as_deref(), Some("card.refused.v1"));
    let signal = desk.holds("refused").unwrap();
    let said: crate::event::runtime::Signal =
        serde_json::from_str(desk.read("refused", &signal).data).unwrap();
    assert_eq!((&*said.step, &*said.by), ("charge-card", "charge-card"));
    assert_eq!(said.reason, "ä".repeat(128), "a long reason is cut");
    assert_eq!(settled(&desk), [Settle::Ack]);
}

/// The money is back although the slot never said that it was taken.
#[tokio::test(start_paused = true)]
async fn a_charge_whose_slot_says_no_meanwhile_is_taken_back() {
    let (desk, booked) = booked();
    let refusal = meanwhile(&desk, "card", ("confirm-trip", "card.refused.v1"));
    let mut step = Charge::default();
    step.calls.meanwhile = Some(refusal);
    let part = charges(&desk, &booked, 1, step).await;
    assert_eq!(part.0.calls.made(), ["run", "undo what is recorded"]);
    assert_eq!(desk.says("refused").as_deref(), Some(FLOW.turns.event));
    assert_eq!(settled(&desk), [Settle::Ack]);
}

#[tokio::test(start_paused = true)]
async fn a_ticket_whose_slot_says_no_meanwhile_is_reported() {
    let (desk, charge) = charged();
    let mut step = Ticket::default();
    step.calls.meanwhile = Some(meanwhile(&desk, "ticket", ("buy-ticket", "ticket.refused.v1")));
    handle(&desk.worker, &Settling(step), desk.delivery(charge, 1)).await;
    assert_eq!(parked(&desk), ["orphan-effect"]);
    assert_eq!(desk.says("refused").as_deref(), Some(FLOW.turns.event), "and the saga turns");
}

/// Two replicas made one charge, or two: what they recorded tells which.
#[tokio::test(start_paused = true)]
async fn a_second_effect_is_reported_and_the_same_one_is_not() {
    for (ours, reasons) in [("other", &[][..]), ("no", &["orphan-effect"][..])] {
        let (desk, booked) = booked();
        let mut step = Charge::default();
        let answer = Ok(Outcome::Done(Charged { reason: ours.to_owned() }));
        step.answers.lock().unwrap().push_back(answer);
        step.calls.meanwhile = Some(meanwhile(&desk, "card", ("charge-card", "card.charged.v1")));
        charges(&desk, &booked, 1, step).await;
        assert_eq!(parked(&desk), reasons, "{ours}");
    }
}

/// Somebody may have taken the payment back at the bank itself; then nothing decides the slot.
#[tokio::test(start_paused = true)]
async fn a_run_behind_a_fence_waits_for_its_slot_and_is_parked_in_the_end() {
    let superseded = || {
        let answers = Mutex::new([Err(StepError::Superseded)].into());
        Charge { answers, ..Charge::default() }
    };
    let (desk, message) = booked();
    let began = Instant::now();
    charges(&desk, &message, 1, superseded()).await;
    assert_eq!(parked(&desk), ["fenced-off"]);
    assert!(began.elapsed() > 10 * SECOND, "longer than an old leader does not know");
    let (desk, message) = booked();
    let mut step = superseded();
    step.calls.meanwhile = Some(meanwhile(&desk, "card", ("confirm-trip", "card.refused.v1")));
    charges(&desk, &message, 1, step).await;
    assert_eq!(parked(&desk), [""; 0]);
    assert_eq!(settled(&desk), [Settle::Ack]);
}

#[tokio::test(start_paused = true)]
async fn a_step_runs_on_what_the_step_before_did_and_on_nothing_else() {
    let desk = Desk::of("charge-card");
    desk.opened();
    let refused = desk.refused("book-hotel");
    let part = charges(&desk, &refused, 1, Charge::default()).await;
    assert_eq!((part.0.calls.made(), settled(&desk)), (vec![], vec![Settle::Ack]));
    assert_eq!(parked(&desk), [""; 0], "a refusal is no trigger, and nothing is wrong with it");
    let desk = Desk::of("charge-card");
    desk.opened();
    let forged = desk.event("hotel", ("client", "hotel.booked.v1"), "asked");
    let part = charges(&desk, &forged, 1, Charge::default()).await;
    assert_eq!(part.0.calls.made(), [""; 0]);
    assert_eq!(parked(&desk), ["wrong-source"]);
    let desk = Desk::of("charge-card");
    desk.opened();
    let newer = desk.event("hotel", ("other", "hotel.booked.v2"), "asked");
    charges(&desk, &newer, 1, Charge::default()).await;
    assert_eq!(parked(&desk), ["unknown-version"], "a later worker may know it");
}

/// Everything after it repeats what it opens with.
#[tokio::test(start_paused = true)]
async fn an_opening_has_at_most_32_kb() {
    let desk = Desk::of("book-hotel");
    let fits = |bytes: usize| {
        let pad = "x".repeat(bytes - r#"{"reason":""}"#.len());
        let opening = desk.bare("asked", format!(r#"{{"reason":"{pad}"}}"#));
        match decode::<Opened>(&desk.worker, &desk.delivery(opening, 1)) {
            Ok(_) => true,
            Err(Ending::Park(bad)) => {
                assert_eq!(bad.reason.code(), "too-large");
                false
            }
            Err(_) => panic!("it is parked"),
        }
    };
    assert!(fits(100) && fits(32 * 1024) && !fits(32 * 1024 + 1));
    // What a worker writes may be longer.
    let (desk, _) = booked();
    let pad = "x".repeat(40_000);
    let long = format!(
        r#"{{"specversion":"1.0","id":"1","type":"hotel.booked.v1","source":"book-hotel",
            "data":{{"reason":"{pad}"}}}}"#
    );
    let long = desk.bare("hotel", long);
    assert!(decode::<Booked>(&desk.worker, &desk.delivery(long, 1)).is_ok());
}

/// Deliveries of which no end is known make a message suspicious; a run that ended does not.
#[tokio::test(start_paused = true)]
async fn a_run_that_comes_to_an_end_is_not_counted_as_one_that_killed_its_worker() {
    let begun = |desk: &Desk| {
        let kept = desk.log.kept();
        let record: serde_json::Value =
            serde_json::from_slice(&kept.bucket.values().next().unwrap().value).unwrap();
        record["begun"].as_u64()
    };
    let (desk, message) = booked();
    charges(&desk, &message, 3, Charge::default()).await;
    assert_eq!(begun(&desk), Some(0), "a charge");
    let (desk, message) = booked();
    let mut step = Charge::default();
    step.calls.meanwhile = Some(meanwhile(&desk, "card", ("confirm-trip", "card.refused.v1")));
    charges(&desk, &message, 3, step).await;
    assert_eq!(begun(&desk), Some(0), "a charge that is taken back");
    let (desk, message) = booked();
    let answers = Mutex::new([Err(StepError::Superseded)].into());
    let mut step = Charge { answers, ..Charge::default() };
    step.calls.meanwhile = Some(meanwhile(&desk, "card", ("confirm-trip", "card.refused.v1")));
    charges(&desk, &message, 3, step).await;
    assert_eq!(begun(&desk), Some(0), "a run behind a fence");
    let (desk, _) = booked();
    desk.refused("charge-card");
    let signal = desk.signal();
    crate::undo::handle(&desk.worker, &Charge::default(), desk.delivery(signal, 3)).await;
    assert_eq!(begun(&desk), Some(0), "an undo");
}
