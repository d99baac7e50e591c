//! Gates and permits.

use super::*;

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
