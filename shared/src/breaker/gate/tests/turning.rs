//! What the driving task is woken for.

use super::*;

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
    let message = gate.pulled(1);
    gate.remember(message.id, 8);
    assert_eq!(gate.charged(message.id), 8);
    let admission = gate.permit(message).await;
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

#[tokio::test(start_paused = true)]
async fn a_prober_waits_for_a_message_that_was_pulled_before_it_says_that_there_is_none() {
    let limiter = limiter_of("payment", 8);
    let gate = Gate::new(0, false, vec![limiter.clone()]);
    pause(&limiter, 1);
    let probing = Entry { phase: Phase::Probing, by: "me".into(), ..Entry::default() };
    limiter.seen(probing, 2);
    let on_its_way = gate.expects_one();
    let recovers = async {
        loop {
            for effect in limiter.turn().await {
                if let Effect::Write { entry, .. } = effect {
                    return entry.phase;
                }
            }
        }
    };
    let mut recovers = Box::pin(recovers);
    // A fleet that hears nothing for longer takes the probe over.
    let second = Duration::from_secs(1);
    assert!(tokio::time::timeout(second, &mut recovers).await.is_err());
    // It was settled without a call.
    drop(on_its_way);
    assert_eq!(tokio::time::timeout(second, recovers).await.unwrap(), Phase::Paused);
}
