//! The async edge, with paused time.

mod pulling;
mod turning;

use super::*;
use crate::breaker::Settings;
use crate::breaker::class::Class;
use crate::breaker::fleet::{Effect, Entry};
use crate::breaker::fleet::{Phase, Reason};
use crate::breaker::machine::{State, Verdict};
use std::future::Future;
use std::pin::pin;
use std::task::Poll;
use tokio::time::Instant;

fn limiter_of(name: &str, concurrency: u32) -> Arc<Limiter> {
    let settings = Settings { concurrency, ..Settings::default() };
    let limiter = Limiter::new(name, "me", settings, Instant::now());
    limiter.seen(Entry::default(), 0);
    limiter
}

fn pause(limiter: &Arc<Limiter>, revision: u64) {
    let entry = Entry { phase: Phase::Paused, wait_ms: 2000, ..Entry::default() };
    limiter.seen(entry, revision);
}

fn recover(limiter: &Arc<Limiter>, revision: u64) {
    let reason = Reason::Recovered;
    limiter.seen(Entry { phase: Phase::Flowing, reason, ..Entry::default() }, revision);
}

fn out(limiter: &Limiter) -> u32 {
    limiter.look(|replica| replica.machine().out())
}

async fn is_pending<F: Future + Unpin>(future: &mut F) -> bool {
    std::future::poll_fn(|context| {
        Poll::Ready(std::pin::Pin::new(&mut *future).poll(context).is_pending())
    })
    .await
}

async fn permit(gate: &Gate, number: u64) -> Permit {
    match gate.permit(gate.pulled(number)).await {
        Admission::Call(permit) => permit,
        other => panic!("{other:?}"),
    }
}

/// Waits until the gate is open, and says how many messages may be pulled.
async fn open(gate: &Gate) -> u32 {
    let mut rooms = gate.rooms();
    loop {
        match rooms.now() {
            None => return u32::MAX,
            Some(0) => rooms.changed().await,
            Some(room) => return u32::try_from(room).unwrap(),
        }
    }
}

async fn drive(limiter: &Arc<Limiter>) {
    loop {
        limiter.turn().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_delivery_leaves_the_first_one_its_place() {
    let payment = limiter_of("payment", 1);
    let gate = Gate::new(0, false, vec![payment.clone()]);
    let out_there = permit(&gate, 1).await;
    let mut first = pin!(gate.permit(gate.pulled(2)));
    assert!(is_pending(&mut first).await);

    let again = gate.permit(gate.pulled(2)).await;
    assert!(matches!(again, Admission::GiveBack { delay: TWICE, charged: 0 }), "{again:?}");
    assert!(is_pending(&mut first).await);

    // The first one is granted, and does not know it yet: another delivery may wait behind it.
    let _settles = out_there.finish(Class::Answered);
    let mut second = pin!(gate.permit(gate.pulled(2)));
    assert!(is_pending(&mut second).await);
    let Admission::Call(called) = first.await else { panic!("the first one waits no more") };
    assert!(is_pending(&mut second).await);
    let _settles = called.finish(Class::Answered);
    assert!(matches!(second.await, Admission::Call(_)));
}

#[tokio::test(start_paused = true)]
async fn a_second_delivery_does_not_overtake_a_wait_between_two_attempts() {
    let payment = limiter_of("payment", 4);
    let gate = Gate::new(0, false, vec![payment.clone()]);
    let Verdict::Hold(held) = permit(&gate, 1).await.finish(Class::Failed) else {
        panic!("a first failure is not the last")
    };
    let mut first = pin!(gate.permit(held));
    assert!(is_pending(&mut first).await);

    let again = gate.permit(gate.pulled(1)).await;
    assert!(matches!(again, Admission::GiveBack { .. }), "{again:?}");
    let driven = pin!(drive(&payment));
    let admission = futures::future::select(first, driven).await;
    assert!(matches!(admission, futures::future::Either::Left((Admission::Call(_), _))));
}

#[tokio::test(start_paused = true)]
async fn only_what_waits_for_a_permit_takes_no_place() {
    let payment = limiter_of("payment", 1);
    let gate = Gate::new(0, false, vec![payment.clone()]);
    let called = permit(&gate, 1).await;
    assert_eq!(gate.waiting(), 0);
    let mut second = Box::pin(gate.permit(gate.pulled(2)));
    assert!(is_pending(&mut second).await);
    gate.waits().await;
    assert_eq!(gate.waiting(), 1);
    let _settles = called.finish(Class::Answered);
    drop(second.await);
    assert_eq!(gate.waiting(), 0);
    let mut third = Box::pin(gate.permit(gate.pulled(3)));
    let _busy = permit(&gate, 4).await;
    assert!(is_pending(&mut third).await);
    drop(third);
    assert_eq!(gate.waiting(), 0);
}
