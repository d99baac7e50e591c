//! The call breaker, with paused time.

use std::future::{pending, ready};
use std::sync::Arc;

use super::*;

#[derive(Debug, PartialEq, Eq)]
struct Trouble(Class);

impl Classified for Trouble {
    fn class(&self) -> Class {
        self.0
    }
}

type Outcome = Result<Answer<u32>, CallError<Trouble>>;

async fn read(breaker: &Breaker, answer: Result<u32, Class>) -> Outcome {
    let call = || Read(ready(answer.map_err(Trouble)));
    breaker.call(call).or_else(|| ready(Ok::<_, ()>(7))).await
}

async fn write(breaker: &Breaker, answer: Result<u32, Class>) -> Outcome {
    let call = || Write(ready(answer.map_err(Trouble)));
    breaker.call(call).or_else_if_not_sent(|| ready(Ok::<_, ()>(7))).await
}

async fn make_it_doubt(breaker: &Breaker) {
    for _ in 0..8 {
        assert_eq!(
            read(breaker, Err(Class::Failed)).await,
            Ok(Answer::Fallback(7, Reason::Failed))
        );
    }
}

fn breaker() -> Breaker {
    Breaker::new(Settings::default())
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_fresh() {
    assert_eq!(read(&breaker(), Ok(1)).await, Ok(Answer::Fresh(1)));
}

#[tokio::test(start_paused = true)]
async fn a_read_falls_back_on_not_sent_failed_and_busy() {
    for (class, reason) in [
        (Class::NotSent, Reason::NotSent),
        (Class::Failed, Reason::Failed),
        (Class::Credentials, Reason::Failed),
        (Class::Busy(None), Reason::Busy),
    ] {
        assert_eq!(read(&breaker(), Err(class)).await, Ok(Answer::Fallback(7, reason)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_wrong_request_and_our_own_trouble_are_no_reason_to_fall_back() {
    for class in [Class::Bad, Class::Local] {
        assert_eq!(read(&breaker(), Err(class)).await, Err(CallError::Call(Trouble(class))));
    }
}

#[tokio::test(start_paused = true)]
async fn a_no_and_a_wrong_request_are_a_reason_only_for_who_says_so() {
    for (class, instead) in [
        (Class::Answered, Ok(Answer::Fallback(7, Reason::Refused))),
        (Class::Bad, Ok(Answer::Fallback(7, Reason::Refused))),
        (Class::Failed, Ok(Answer::Fallback(7, Reason::Failed))),
        (Class::Local, Err(CallError::Call(Trouble(Class::Local)))),
    ] {
        let call = || Read(ready(Err(Trouble(class))));
        let breaker = breaker();
        let fallback = || ready(Ok::<_, ()>(7));
        assert_eq!(breaker.call(call).or_else_even_if_refused(fallback).await, instead);
    }
}

#[tokio::test(start_paused = true)]
async fn wrong_requests_alone_make_no_breaker_doubt() {
    let breaker = breaker();
    for _ in 0..20 {
        let call = || Read(ready(Err(Trouble(Class::Bad))));
        let instead = breaker.call(call).or_else_even_if_refused(|| ready(Ok::<_, ()>(7))).await;
        assert_eq!(instead, Ok(Answer::Fallback(7, Reason::Refused)));
    }
    assert_eq!(read(&breaker, Ok(1)).await, Ok(Answer::Fresh(1)));
}

#[tokio::test(start_paused = true)]
async fn every_fallback_is_told_and_a_change_once() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let listener = heard.clone();
    let breaker = breaker().telling(move |news| listener.lock().unwrap().push(news));
    make_it_doubt(&breaker).await;
    assert_eq!(read(&breaker, Ok(1)).await, Ok(Answer::Fallback(7, Reason::Doubting)));
    tokio::time::advance(Duration::from_secs(30)).await;
    for answer in [Ok(1), Err(Class::Bad), Ok(2)] {
        let _ = read(&breaker, answer).await;
    }
    let mut told = vec![News::FellBack(Reason::Failed); 8];
    told.insert(1, News::Began(Reason::Failed));
    told.extend([News::FellBack(Reason::Doubting), News::Ended]);
    assert_eq!(*heard.lock().unwrap(), told);
}

#[tokio::test(start_paused = true)]
async fn while_doubting_the_fallback_answers_at_once_and_no_call_is_made() {
    let breaker = breaker();
    make_it_doubt(&breaker).await;
    assert_eq!(read(&breaker, Ok(1)).await, Ok(Answer::Fallback(7, Reason::Doubting)));
}

#[tokio::test(start_paused = true)]
async fn one_answered_single_try_makes_it_fresh_again() {
    let breaker = breaker();
    make_it_doubt(&breaker).await;
    tokio::time::advance(Duration::from_millis(61)).await;
    assert_eq!(read(&breaker, Ok(1)).await, Ok(Answer::Fresh(1)));
    assert_eq!(read(&breaker, Ok(2)).await, Ok(Answer::Fresh(2)));
}

#[tokio::test(start_paused = true)]
async fn a_write_with_an_unknown_outcome_never_falls_back() {
    for class in [Class::Failed, Class::Credentials, Class::Busy(None)] {
        assert_eq!(write(&breaker(), Err(class)).await, Err(CallError::Call(Trouble(class))));
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_that_was_not_sent_or_not_made_falls_back() {
    let breaker = breaker();
    let not_sent = Ok(Answer::Fallback(7, Reason::NotSent));
    assert_eq!(write(&breaker, Err(Class::NotSent)).await, not_sent);
    assert_eq!(write(&breaker, Ok(1)).await, Ok(Answer::Fresh(1)));
    make_it_doubt(&breaker).await;
    assert_eq!(write(&breaker, Ok(1)).await, Ok(Answer::Fallback(7, Reason::Doubting)));
}

#[tokio::test(start_paused = true)]
async fn the_first_error_is_returned_when_the_fallback_fails_too_or_takes_too_long() {
    let breaker = breaker();
    let call = || Read(ready(Err::<u32, _>(Trouble(Class::Failed))));
    let fails = breaker.call(call).or_else(|| ready(Err("no"))).await;
    assert_eq!(fails, Err(CallError::Call(Trouble(Class::Failed))));
    let began = Instant::now();
    let hangs = breaker.call(call).or_else(pending::<Result<u32, ()>>).await;
    assert_eq!(hangs, Err(CallError::Call(Trouble(Class::Failed))));
    assert!((99..=102).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn at_most_ten_fallbacks_run_at_once() {
    let breaker = breaker();
    make_it_doubt(&breaker).await;
    let call = || Read(ready(Ok::<u32, Trouble>(1)));
    let one = || breaker.call(call).or_else(pending::<Result<u32, ()>>);
    let began = Instant::now();
    let mut hanging: Vec<_> = (0..10).map(|_| Box::pin(one())).collect();
    for hangs in &mut hanging {
        assert!(timeout(Duration::ZERO, hangs).await.is_err());
    }
    let waited = began.elapsed();
    assert_eq!(one().await, Err(CallError::NotCalled(Reason::Doubting)));
    assert_eq!(began.elapsed(), waited);
    drop(hanging);
    assert_eq!(
        read(&breaker, Ok(1)).await.ok().map(|answer| matches!(answer, Answer::Fallback(7, _))),
        Some(true)
    );
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_call_gives_its_slot_back_and_counts_for_nothing() {
    let breaker = breaker();
    for _ in 0..20 {
        let call = || Read(pending::<Result<u32, Trouble>>());
        let hangs = breaker.call(call).or_else(|| ready(Ok::<_, ()>(7)));
        assert!(timeout(Duration::ZERO, hangs).await.is_err());
    }
    assert_eq!(breaker.look(|machine| machine.out()), 0);
    assert_eq!(read(&breaker, Ok(1)).await, Ok(Answer::Fresh(1)));
}
