//! Messages that wait for their bank, which takes one call at a time.

use super::*;
use crate::breaker::Settings;
use crate::breaker::class::Class;
use crate::breaker::fleet::Entry as Key;
use crate::breaker::gate::{Admission, Gate, Limiter, Permit};

/// The bank's gate, as long as the tasks live.
fn bank(beside: &mut JoinSet<()>) -> Gate {
    let settings = Settings { concurrency: 1, ..Settings::default() };
    let limiter = Limiter::new("bank", "me", settings, Instant::now());
    limiter.seen(Key::default(), 0);
    let gate = Gate::new(0, false, vec![limiter.clone()]);
    beside.spawn(async move {
        loop {
            limiter.turn().await;
        }
    });
    gate
}

/// A call for another message.
async fn other_call(gate: &Gate) -> Permit {
    match gate.permit(gate.pulled(99)).await {
        Admission::Call(permit) => permit,
        other => panic!("{other:?}"),
    }
}

/// A call that is under way for 10 s, while the saga turns around.
async fn calls_meanwhile(busy: Permit, turns: Writes) {
    tokio::time::sleep(10 * SECOND).await;
    turns();
    busy.finish(Class::Answered);
}

fn turned(desk: &Desk) -> bool {
    settled(desk) == [Settle::Ack] && desk.says("refused").as_deref() == Some(FLOW.turns.event)
}

#[tokio::test(start_paused = true)]
async fn a_message_whose_saga_turned_while_it_waited_is_not_charged() {
    let (desk, booked) = booked();
    let mut beside = JoinSet::new();
    let gate = bank(&mut beside);
    let turns = meanwhile(&desk, "card", ("confirm-trip", "card.refused.v1"));
    beside.spawn(calls_meanwhile(other_call(&gate).await, turns));
    let mut delivery = desk.delivery(booked, 1);
    delivery.turn = Turn::of(&gate, 2);
    let part = Undoable(Charge::default());
    handle(&desk.worker, &part, delivery).await;
    assert_eq!(part.0.calls.made(), [""; 0]);
    assert!(turned(&desk));
}

/// The bank did not say what became of the first call, and the second one would come too late.
#[tokio::test(start_paused = true)]
async fn a_message_whose_saga_turned_before_its_next_attempt_is_not_charged() {
    let (desk, booked) = booked();
    let mut beside = JoinSet::new();
    let gate = bank(&mut beside);
    let mut delivery = desk.delivery(booked, 1);
    delivery.turn = Turn::of(&gate, 2);
    let (asks, asked) = tokio::sync::oneshot::channel();
    let turns = meanwhile(&desk, "card", ("confirm-trip", "card.refused.v1"));
    beside.spawn(async move {
        asked.await.unwrap();
        calls_meanwhile(other_call(&gate).await, turns).await;
    });
    let asks = Mutex::new(Some(asks));
    let mut step = Charge::default();
    let undecided = Err(StepError::undecided("not yet"));
    step.answers.lock().unwrap().push_back(undecided);
    step.calls.meanwhile = Some(Box::new(move || {
        asks.lock().unwrap().take().into_iter().for_each(|asks| asks.send(()).unwrap());
    }));
    let part = Undoable(step);
    handle(&desk.worker, &part, delivery).await;
    assert_eq!(part.0.calls.made(), ["run"]);
    assert!(turned(&desk));
}

/// It has no breaker that would hold it, and a message that never succeeds keeps nobody waiting.
#[tokio::test(start_paused = true)]
async fn a_message_that_fails_without_a_breaker_is_held_for_a_while_and_then_makes_room() {
    let (desk, booked) = booked();
    let fails = || {
        let answers = (0..500).map(|_| Err(StepError::try_again("no"))).collect();
        Charge { answers: Mutex::new(answers), ..Charge::default() }
    };
    let began = Instant::now();
    let first = charges(&desk, &booked, 1, fails()).await;
    let (held, most) = (began.elapsed(), desk.worker.limits.hold_max);
    assert!(held <= most && held > most / 2, "{held:?}");
    assert!((5..60).contains(&first.0.calls.made().len()), "less and less often");
    assert!(matches!(settled(&desk)[..], [Settle::Retry(_)]));
    let second = charges(&desk, &booked, 2, fails()).await;
    assert_eq!(second.0.calls.made(), ["run"], "the broker delivers it before everything new");
    assert!(matches!(settled(&desk)[..], [Settle::Retry(_)]));
    assert_eq!(parked(&desk), [""; 0], "no service says that it is the message's fault");
}
