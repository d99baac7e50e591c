//! A message that is handled ahead of its delivery, while the bank may be away.

use tokio::sync::watch;
use tokio::time::timeout;

use super::*;
use crate::breaker::gate::Gate;
use crate::testing::desk::{Calls, bank, doubted};

/// Handles a booking ahead of its delivery, and says whether the bank was called.
async fn ahead(desk: &Desk, booked: &Stored, gate: &Gate, step: Charge) -> bool {
    let (delivery, call) = undelivered(desk, booked, gate);
    let part = Undoable(step);
    handle(&desk.worker, &part, delivery).await;
    let is_called = *call.borrow() == CallAhead::Ended;
    assert_eq!(part.0.calls.made().len(), usize::from(is_called));
    is_called
}

fn undelivered(
    desk: &Desk,
    booked: &Stored,
    gate: &Gate,
) -> (Delivery, watch::Receiver<CallAhead>) {
    let (call, hears) = watch::channel(CallAhead::NotYet);
    let mut delivery = desk.delivery(booked.clone(), SUSPICIOUS);
    delivery.turn = Turn::ahead(gate, booked.sequence, call);
    (delivery, hears)
}

fn fails(error: StepError) -> Charge {
    Charge { answers: Mutex::new([Err(error)].into()), ..Charge::default() }
}

#[tokio::test(start_paused = true)]
async fn what_is_decided_ahead_of_its_delivery_is_kept_and_decides_that_the_bank_answers() {
    let (desk, booked) = booked();
    let gate = doubted().await;
    assert!(ahead(&desk, &booked, &gate, Charge::default()).await);
    assert_eq!(desk.says("card").as_deref(), Some("card.charged.v1"));
    assert!(gate.rooms().now() > Some(1), "the doubt is over");
    assert!(!ahead(&desk, &booked, &gate, Charge::default()).await, "it is decided");
}

#[tokio::test(start_paused = true)]
async fn a_message_that_comes_to_nothing_ahead_of_its_delivery_waits_for_it() {
    for error in [StepError::BadMessage("no".to_owned()), StepError::try_again("away")] {
        let (desk, booked) = booked();
        let gate = doubted().await;
        assert!(ahead(&desk, &booked, &gate, fails(error)).await);
        assert_eq!(desk.says("card"), None);
        assert_eq!(settled(&desk), []);
        assert_eq!(parked(&desk), [""; 0]);
        assert_eq!(gate.waiting(), 0);
        charges(&desk, &booked, 1, Charge::default()).await;
        assert_eq!(desk.says("card").as_deref(), Some("card.charged.v1"));
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_called_ahead_of_its_delivery_while_the_bank_answers() {
    let (desk, booked) = booked();
    assert!(!ahead(&desk, &booked, &bank(), Charge::default()).await);
    assert_eq!((desk.says("card"), settled(&desk)), (None, Vec::new()));
}

/// It would be asked for again and again, by every replica that starts.
#[tokio::test(start_paused = true)]
async fn a_message_that_ends_its_worker_ahead_of_its_delivery_is_tried_three_times_at_most() {
    let (desk, booked) = booked();
    for dies in [true, true, true, false, false] {
        let gate = doubted().await;
        let step = Charge::default();
        let step = match dies {
            true => Charge {
                calls: Calls { meanwhile: Some(Box::new(|| panic!("dies"))), ..step.calls },
                ..step
            },
            false => step,
        };
        let (delivery, call) = undelivered(&desk, &booked, &gate);
        let part = Undoable(step);
        let handled = std::panic::AssertUnwindSafe(handle(&desk.worker, &part, delivery));
        let died = futures::FutureExt::catch_unwind(handled).await.is_err();
        let is_called = *call.borrow() != CallAhead::NotYet;
        assert_eq!((died, is_called), (dies, dies));
    }
    assert_eq!((desk.says("card"), parked(&desk)), (None, Vec::new()));
}

/// Its refund may fail for ever, and nothing else would be pulled meanwhile.
#[tokio::test(start_paused = true)]
async fn a_call_ahead_has_ended_though_what_it_did_cannot_be_taken_back() {
    let (desk, booked) = booked();
    let gate = doubted().await;
    let refusal = meanwhile(&desk, "card", ("confirm-trip", "card.refused.v1"));
    let mut step = Charge { keeps_all: true, ..Charge::default() };
    step.calls.meanwhile = Some(refusal);
    let (delivery, call) = undelivered(&desk, &booked, &gate);
    let part = Undoable(step);
    let handled = timeout(600 * SECOND, handle(&desk.worker, &part, delivery)).await;
    assert!(handled.is_err(), "it is taken back until the bank does it");
    assert_eq!(part.0.calls.made(), ["run", "undo what is recorded"]);
    assert_eq!(*call.borrow(), CallAhead::Ended);
}

/// What is written down is how its deliveries ended, and there was none.
#[tokio::test(start_paused = true)]
async fn nothing_is_written_of_a_call_ahead_that_a_stopping_replica_gives_back() {
    let (desk, booked) = booked();
    let gate = doubted().await;
    let (delivery, _call) = undelivered(&desk, &booked, &gate);
    let _another = desk.worker.runs.read().await;
    desk.worker.stopper.stop(Stop::Asked);
    handle(&desk.worker, &Undoable(Charge::default()), delivery).await;
    assert!(desk.log.kept().bucket.is_empty(), "{:?}", desk.log.kept().bucket);
}
