//! A message that is handled ahead of its delivery, while the bank may be away.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use super::*;
use crate::breaker::Settings;
use crate::breaker::class::Class;
use crate::breaker::fleet::Entry as Key;
use crate::breaker::gate::{Admission, Gate, Limiter};
use crate::testing::desk::Calls;

/// The gate of a bank, open.
fn bank() -> Gate {
    let limiter = Limiter::new("bank", "me", Settings::default(), Instant::now());
    limiter.seen(Key::default(), 0);
    let gate = Gate::new(0, false, vec![limiter]);
    gate.looks_ahead();
    gate
}

/// A bank that gave no answer to eight messages, and may be asked again.
async fn doubted() -> Gate {
    let gate = bank();
    for number in 100..108 {
        let Admission::Call(permit) = gate.permit(gate.pulled(number)).await else { panic!() };
        let _holds = permit.finish(Class::Failed);
    }
    advance(SECOND / 10).await;
    gate
}

/// Handles a booking ahead of its delivery, and says whether the bank was called.
async fn ahead(desk: &Desk, booked: &Stored, gate: &Gate, step: Charge) -> bool {
    let called = Arc::<AtomicBool>::default();
    let mut delivery = desk.delivery(booked.clone(), 3);
    delivery.turn = Turn::ahead(gate, booked.sequence, called.clone());
    let part = Undoable(step);
    handle(&desk.worker, &part, delivery).await;
    assert_eq!(part.0.calls.made().len(), usize::from(called.load(Relaxed)));
    called.load(Relaxed)
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
        let called = Arc::<AtomicBool>::default();
        let mut delivery = desk.delivery(booked.clone(), 3);
        delivery.turn = Turn::ahead(&gate, booked.sequence, called.clone());
        let part = Undoable(step);
        let handled = std::panic::AssertUnwindSafe(handle(&desk.worker, &part, delivery));
        let died = futures::FutureExt::catch_unwind(handled).await.is_err();
        assert_eq!((died, called.load(Relaxed)), (dies, dies));
    }
    assert_eq!((desk.says("card"), parked(&desk)), (None, Vec::new()));
}
