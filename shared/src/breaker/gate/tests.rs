use std::future::Future;
use std::pin::pin;
use std::task::Poll;

use super::*;
use crate::breaker::Settings;
use crate::breaker::class::Class;
use crate::breaker::fleet::{Effect, Entry};
use crate::breaker::fleet::{Phase, Reason};
use crate::breaker::machine::{State, Verdict};
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
    match gate.permit(gate.pulled(number, 0)).await {
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

#[tokio::test(start_paused = true)]
async fn a_gate_is_shut_until_the_key_was_read() {
    let limiter = Limiter::new("payment", "me", Settings::default(), Instant::now());
    let gate = Gate::new(0, false, vec![limiter.clone()]);
    let mut open = pin!(open(&gate));
    assert!(is_pending(&mut open).await);
    limiter.seen(Entry::default(), 0);
    assert_eq!(open.await, 8);
}

#[tokio::test(start_paused = true)]
async fn a_paused_gate_opens_when_the_fleet_has_recovered() {
    let limiter = limiter_of("payment", 8);
    let gate = Gate::new(0, false, vec![limiter.clone()]);
    pause(&limiter, 1);
    let mut open = pin!(open(&gate));
    assert!(is_pending(&mut open).await);
    recover(&limiter, 2);
    let effects = tokio::select! {
        room = &mut open => { assert_eq!(room, 1); return }
        effects = limiter.turn() => effects,
    };
    assert!(!effects.is_empty());
    tokio::select! {
        room = &mut open => assert_eq!(room, 1),
        effects = limiter.turn() => panic!("{effects:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_durable_without_dependencies_is_always_open() {
    let gate = Gate::new(0, false, Vec::new());
    assert_eq!(open(&gate).await, u32::MAX);
    assert_eq!(permit(&gate, 1).await.finish(Class::Answered), Verdict::Settle);
}

#[tokio::test(start_paused = true)]
async fn a_gate_of_two_dependencies_is_open_when_both_are() {
    let (one, two) = (limiter_of("carrier", 8), limiter_of("labels", 3));
    let gate = Gate::new(0, false, vec![one.clone(), two.clone()]);
    assert_eq!(open(&gate).await, 3);
    assert_eq!(open(&Gate::new(0, false, vec![two.clone(), one.clone()])).await, 3);
    pause(&two, 1);
    let mut open = pin!(open(&gate));
    assert!(is_pending(&mut open).await);
    pause(&one, 1);
    two.overridden(None);
    assert!(is_pending(&mut open).await);
}

#[tokio::test(start_paused = true)]
async fn waiting_for_one_dependency_keeps_no_permit_of_the_other() {
    let (one, two) = (limiter_of("carrier", 1), limiter_of("labels", 1));
    let both = Gate::new(0, false, vec![one.clone(), two.clone()]);
    let only_one = Gate::new(1, false, vec![one.clone()]);
    pause(&two, 1);
    let mut waits = pin!(permit(&both, 1));
    assert!(is_pending(&mut waits).await);
    assert_eq!(out(&one), 0);
    assert_eq!(permit(&only_one, 2).await.finish(Class::Answered), Verdict::Settle);
    recover(&two, 2);
    tokio::time::advance(Duration::from_secs(1)).await;
    let both_permit = tokio::select! {
        permit = &mut waits => permit,
        () = drive(&two) => unreachable!("it drives for ever"),
    };
    assert_eq!((out(&one), out(&two)), (1, 1));
    both_permit.finish(Class::Answered);
    assert_eq!((out(&one), out(&two)), (0, 0));
}

async fn drive(limiter: &Arc<Limiter>) {
    loop {
        limiter.turn().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_permit_comes_back_once_by_finish_drop_cancel_and_panic() {
    let limiter = limiter_of("payment", 2);
    let gate = Gate::new(0, false, vec![limiter.clone()]);
    permit(&gate, 1).await.finish(Class::Failed);
    assert_eq!(out(&limiter), 0);
    drop(permit(&gate, 2).await);
    assert_eq!(out(&limiter), 0);
    let panics = gate.clone();
    let task = tokio::task::LocalSet::new();
    let handle = task.spawn_local(async move {
        let _permit = permit(&panics, 3).await;
        panic!("the step panics");
    });
    task.await;
    assert!(handle.await.is_err());
    assert_eq!(out(&limiter), 0);
    let cancelled = tokio::time::timeout(Duration::from_secs(1), async {
        let _permit = permit(&gate, 4).await;
        std::future::pending::<()>().await;
    });
    assert!(cancelled.await.is_err());
    assert_eq!(out(&limiter), 0);
}

#[tokio::test(start_paused = true)]
async fn who_stops_waiting_is_no_longer_in_hand_and_takes_no_permit() {
    let limiter = limiter_of("payment", 1);
    let gate = Gate::new(0, false, vec![limiter.clone()]);
    let first = permit(&gate, 1).await;
    {
        let mut waits = pin!(permit(&gate, 2));
        assert!(is_pending(&mut waits).await);
        assert_eq!(limiter.look(|replica| replica.held().count()), 1);
        // Granted, and dropped before it was taken.
        first.finish(Class::Answered);
        assert_eq!(out(&limiter), 1);
    }
    assert_eq!(out(&limiter), 0);
    assert_eq!(limiter.look(|replica| replica.held().count()), 0);
    permit(&gate, 3).await.finish(Class::Answered);
}

#[tokio::test(start_paused = true)]
async fn who_stops_waiting_before_a_grant_is_no_longer_in_hand() {
    let limiter = limiter_of("payment", 1);
    let gate = Gate::new(0, false, vec![limiter.clone()]);
    let first = permit(&gate, 1).await;
    let waited = tokio::time::timeout(Duration::from_secs(1), permit(&gate, 2)).await;
    assert!(waited.is_err());
    assert_eq!(limiter.look(|replica| replica.held().count()), 0);
    first.finish(Class::Answered);
    assert_eq!(out(&limiter), 0);
}

#[tokio::test(start_paused = true)]
async fn undo_and_forward_share_the_slots_and_undo_goes_first_below_full() {
    let limiter = limiter_of("payment", 8);
    let (forward, undo) =
        (Gate::new(0, false, vec![limiter.clone()]), Gate::new(1, true, vec![limiter.clone()]));
    recover(&limiter, 1);
    tokio::time::advance(Duration::from_secs(1)).await;
    let first = permit(&forward, 1).await;
    let mut waits = pin!(permit(&forward, 2));
    assert!(is_pending(&mut waits).await);
    tokio::time::advance(Duration::from_millis(10)).await;
    let mut waits_too = pin!(permit(&undo, 1));
    assert!(is_pending(&mut waits_too).await);
    // Failed: the limit stays at one.
    first.finish(Class::Failed);
    assert!(is_pending(&mut waits).await);
    waits_too.await.finish(Class::Failed);
    waits.await.finish(Class::Answered);
}

#[tokio::test(start_paused = true)]
async fn a_held_message_is_woken_by_the_timer_of_turn() {
    let limiter = limiter_of("payment", 1);
    let gate = Gate::new(0, false, vec![limiter.clone()]);
    let verdict = permit(&gate, 1).await.finish(Class::Busy(Some(Duration::from_secs(60))));
    let Verdict::Hold(held) = verdict else { panic!("{verdict:?}") };
    let began = Instant::now();
    let admission = tokio::select! {
        admission = gate.permit(held) => admission,
        () = drive(&limiter) => unreachable!("it drives for ever"),
    };
    assert!(matches!(admission, Admission::Call(_)));
    assert!(began.elapsed() >= Duration::from_secs(60));
    assert!(began.elapsed() <= Duration::from_secs(73));
}

#[tokio::test(start_paused = true)]
async fn turn_wakes_for_what_others_do_while_it_sleeps() {
    let limiter = limiter_of("payment", 8);
    let gate = Gate::new(0, false, vec![limiter.clone()]);
    limiter.turn().await;
    let mut turn = Box::pin(limiter.turn());
    assert!(is_pending(&mut turn).await);
    for number in 1..9 {
        permit(&gate, number).await.finish(Class::Failed);
    }
    let effects = tokio::time::timeout(Duration::from_millis(1), turn).await.unwrap();
    assert!(matches!(effects[..], [Effect::Log(_)]), "{effects:?}");
}

#[tokio::test(start_paused = true)]
async fn turn_wakes_for_news_that_need_no_timer() {
    let limiter = limiter_of("payment", 8);
    limiter.turn().await;
    let mut turn = Box::pin(limiter.turn());
    assert!(is_pending(&mut turn).await);
    limiter.seen(Entry { reason: Reason::Withdrawn, ..Entry::default() }, 1);
    let effects = tokio::time::timeout(Duration::from_millis(1), turn).await.unwrap();
    assert!(matches!(effects[..], [Effect::Log(_)]), "{effects:?}");
}

#[tokio::test(start_paused = true)]
async fn turn_wakes_for_a_message_that_is_due_before_it_meant_to_wake() {
    let limiter = limiter_of("payment", 8);
    let gate = Gate::new(0, false, vec![limiter.clone()]);
    limiter.turn().await;
    let began = Instant::now();
    let held = async {
        let verdict = permit(&gate, 1).await.finish(Class::Busy(Some(Duration::from_secs(5))));
        let Verdict::Hold(held) = verdict else { panic!("{verdict:?}") };
        gate.permit(held).await
    };
    tokio::select! {
        biased;
        () = drive(&limiter) => unreachable!("it drives for ever"),
        admission = held => assert!(matches!(admission, Admission::Call(_))),
    }
    assert!(began.elapsed() <= Duration::from_secs(6), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn turn_says_what_to_write_when_a_replica_has_doubted_for_half_a_second() {
    let limiter = limiter_of("payment", 8);
    let gate = Gate::new(0, false, vec![limiter.clone()]);
    for number in 1..9 {
        permit(&gate, number).await.finish(Class::Failed);
    }
    let began = Instant::now();
    let suspected = async {
        loop {
            let effects = limiter.turn().await;
            let write = effects.into_iter().find_map(|effect| match effect {
                Effect::Write { entry, .. } => Some(entry),
                Effect::PauseServer(_) | Effect::ResumeServer | Effect::Log(_) => None,
            });
            if let Some(entry) = write {
                return entry;
            }
        }
    };
    let suspected = tokio::time::timeout(Duration::from_secs(2), suspected).await.unwrap();
    assert_eq!(suspected.phase, Phase::Suspected);
    assert!(began.elapsed() >= Duration::from_millis(500));
    assert!(began.elapsed() <= Duration::from_millis(510));
}

#[tokio::test(start_paused = true)]
async fn a_message_given_back_for_its_attempts_is_parked_when_it_comes_again() {
    let limiter = limiter_of("payment", 8);
    let gate = Gate::new(0, false, vec![limiter.clone()]);
    let admission = gate.permit(gate.pulled(1, 8)).await;
    assert!(matches!(admission, Admission::Park(Parking::Attempts)), "{admission:?}");
}

#[tokio::test(start_paused = true)]
async fn of_two_dependencies_only_the_one_that_failed_is_blamed() {
    let (one, two) = (limiter_of("carrier", 8), limiter_of("labels", 8));
    let gate = Gate::new(0, false, vec![one.clone(), two.clone()]);
    for number in 1..9 {
        let verdict = permit(&gate, number)
            .await
            .finish_each(|name| if name == "labels" { Class::Failed } else { Class::Local });
        assert!(matches!(verdict, Verdict::Hold(held) if held.tries == 1), "{verdict:?}");
    }
    let state = |limiter: &Limiter| limiter.look(|replica| replica.machine().state().clone());
    assert_eq!(state(&one), State::Flowing);
    assert!(matches!(state(&two), State::Doubting(_)));
}
