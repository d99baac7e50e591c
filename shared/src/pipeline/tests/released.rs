//! Messages that come back, or are discarded, by a release.

use super::*;

fn release(desk: &Desk, body: &'static str) -> Delivery {
    let subject = FLOW.released(desk.worker.name(), &desk.saga);
    let message = desk.log.store(&FLOW.parked_stream(), &subject, body.into());
    let mut delivery = desk.delivery(message, 1);
    delivery.released = Some(Released::by(&mut delivery.delivered));
    delivery
}

/// A release names a message; which one, the log says.
#[tokio::test(start_paused = true)]
async fn a_release_runs_the_message_that_the_log_holds() {
    let (desk, _) = booked();
    let part = Undoable(Charge::default());
    handle_released(&desk.worker, &part, release(&desk, "{}")).await;
    assert_eq!(part.0.calls.made(), ["run"]);
    assert_eq!(settled(&desk), [Settle::Ack]);
    let desk = Desk::of("charge-card");
    let nothing = release(&desk, "{}");
    let again = release(&desk, "{}");
    handle_released(&desk.worker, &part, nothing).await;
    assert!(matches!(settled(&desk)[..], [Settle::Retry(_)]), "an old leader may not have it");
    advance(30 * SECOND).await;
    handle_released(&desk.worker, &part, again).await;
    assert_eq!(settled(&desk), [Settle::Ack], "there is none");
    assert_eq!(part.0.calls.made(), ["run"]);
}

/// A parked message is released and parked again under the name that brings it to its step.
#[tokio::test(start_paused = true)]
async fn a_release_that_fails_again_is_parked_as_its_step_and_names_the_release() {
    let (desk, _) = booked();
    let answer = Err(StepError::BadMessage("no".to_owned()));
    let step = Charge { answers: Mutex::new([answer].into()), ..Charge::default() };
    let mut delivery = release(&desk, "{}");
    delivery.durable = "charge-card-released".to_owned();
    assert_eq!(delivery.number(), 1, "its place among the releases, not in the log");
    handle_released(&desk.worker, &Undoable(step), delivery).await;
    let parked = desk.log.messages(&FLOW.parked_stream()).pop().unwrap();
    assert_eq!(parked.subject, "parked.trips.charge-card.T1");
    let entry: Entry = serde_json::from_slice(&parked.payload).unwrap();
    assert_eq!((entry.parked.released, entry.parked.sequence), (Some(1), 2));
    let (desk, booked) = self::booked();
    let mut delivery = desk.delivery(booked, 1);
    delivery.durable = "other".to_owned();
    assert_eq!(delivery.number(), 2);
    let bad = crate::BadData::new(crate::Reason::BadMessage, "", "no");
    delivery.end(&desk.worker, Ending::Park(bad)).await;
    let parked = desk.log.messages(&FLOW.parked_stream()).pop().unwrap();
    assert_eq!(parked.subject, "parked.trips.other.T1");
}

/// Its step is only asked what it did, and not before an earlier call can no longer land.
#[tokio::test(start_paused = true)]
async fn a_discard_behind_the_pivot_asks_and_buys_nothing() {
    let (desk, _) = charged();
    desk.event("pivot", ("buy-ticket", "trip.go.v1"), "card");
    let part = Settling(Ticket::default());
    let (early, late) = (release(&desk, REFUSE), release(&desk, REFUSE));
    handle_released(&desk.worker, &part, early).await;
    assert_eq!(part.0.calls.made(), [""; 0], "a call may still land");
    assert_eq!(settled(&desk), [Settle::Retry(LANDS_WITHIN)]);
    advance(LANDS_WITHIN).await;
    handle_released(&desk.worker, &part, late).await;
    assert_eq!(part.0.calls.made(), ["settle"]);
    assert_eq!(desk.says("ticket").as_deref(), Some("ticket.refused.v1"));
    assert_eq!(settled(&desk), [Settle::Ack]);
    let (desk, _) = charged();
    let part = Settling(Ticket::default());
    handle_released(&desk.worker, &part, release(&desk, "{}")).await;
    assert_eq!(part.0.calls.made(), ["run"], "a retry buys");
}

const REFUSE: &str = r#"{"verdict":"refuse"}"#;

#[tokio::test(start_paused = true)]
async fn a_discard_before_the_pivot_is_left_to_the_cancellation() {
    let (desk, _) = charged();
    let part = Settling(Ticket::default());
    let (early, late) = (release(&desk, REFUSE), release(&desk, REFUSE));
    handle_released(&desk.worker, &part, early).await;
    assert!(matches!(settled(&desk)[..], [Settle::Retry(wait)] if wait < LANDS_WITHIN));
    advance(30 * SECOND).await;
    handle_released(&desk.worker, &part, late).await;
    assert_eq!(settled(&desk), [Settle::Ack]);
    assert_eq!((part.0.calls.made(), desk.says("pivot")), (vec![], None));
    let unknown = release(&desk, r#"{"verdict":"other"}"#);
    handle_released(&desk.worker, &part, unknown).await;
    assert_eq!(part.0.calls.made(), [""; 0], "a later tool may say so");
    let last = desk.log.messages(&FLOW.parked_stream()).pop().unwrap();
    assert!(last.subject.starts_with("parked."), "{}", last.subject);
}
