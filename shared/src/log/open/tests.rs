//! A broker that answers as each test says, and what the caller must then be told.

use std::collections::VecDeque;
use std::sync::Mutex;

use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;
use schemas::order_fulfilment::FLOW;
use serde_json::{Value, json};

use super::*;
use crate::SagaId;
use crate::broker::Unavailable;
use crate::log::envelope::{CLIENT, Occasion, Outgoing};

/// Answers to publishes, the last one again and again; and what the slot holds.
struct Script {
    answers: Mutex<VecDeque<Published>>,
    stored: Option<Stored>,
}

const PATIENCE: Duration = Duration::from_secs(15);

fn slot() -> Slot {
    FLOW.slot(FLOW.opens.slot, &SagaId::parse("A1").unwrap())
}

/// A client's opening in the structured form.
fn event(data: &'static str) -> Bytes {
    let time = Timestamp::UNIX_EPOCH;
    let occasion = Occasion { cause: None, traceparent: None, time, seal: None, work: None };
    let event = (FLOW.opens.event, serde_json::from_str(data).unwrap());
    Outgoing::new(&FLOW, slot(), CLIENT, event, &occasion).payload
}

fn lost() -> Published {
    Published::Unknown(Unknown::NoAnswer("no acknowledgement in time".into()))
}

/// Opens with `{"a":1}`; another form of the same data is `{"a": 1}`.
async fn opened<const N: usize>(
    answers: [Published; N],
    holds: Option<&'static str>,
    sender: Sender,
) -> Result<Opened, Error> {
    let stored = holds.map(|data| Stored {
        subject: "orders.placed.A1".to_owned(),
        sequence: 7,
        stored_at: Timestamp::UNIX_EPOCH,
        headers: Vec::new(),
        payload: event(data),
    });
    let broker = Script { answers: Mutex::new(answers.into()), stored };
    let data = |stored: &Stored| -> Value {
        serde_json::from_slice::<Value>(&stored.payload).unwrap()["data"].take()
    };
    let same = |stored: &Stored| data(stored) == json!({ "a": 1 });
    let opening = Opening { slot: slot(), payload: event(r#"{"a":1}"#), sender };
    open(&broker, &FLOW, &opening, same, PATIENCE).await
}

fn at(sequence: u64, when: When) -> Result<Opened, Error> {
    Ok(Opened { sequence, when })
}

#[tokio::test]
async fn an_empty_slot_is_written() {
    let opened = opened([Published::Stored { sequence: 3 }], None, Sender::OnlyThisCall).await;
    assert_eq!(opened, at(3, When::Now));
}

#[tokio::test]
async fn a_taken_slot_tells_whether_it_holds_the_same() {
    let conflict = || [Published::Conflict];
    let same = opened(conflict(), Some(r#"{"a": 1}"#), Sender::OnlyThisCall).await;
    assert_eq!(same, at(7, When::Before));
    let other = opened(conflict(), Some(r#"{"b":1}"#), Sender::OnlyThisCall).await;
    assert_eq!(other, Err(Error::Taken { sequence: 7 }));
}

#[tokio::test(start_paused = true)]
async fn after_a_lost_answer_the_bytes_tell_who_stored_it() {
    let answers = || [lost(), Published::Conflict];
    let mine = opened(answers(), Some(r#"{"a":1}"#), Sender::OnlyThisCall).await;
    assert_eq!(mine, at(7, When::Now));
    let anyones = opened(answers(), Some(r#"{"a":1}"#), Sender::PerhapsAnother).await;
    assert_eq!(anyones, at(7, When::Unknown));
    let in_another_form = opened(answers(), Some(r#"{"a": 1}"#), Sender::OnlyThisCall).await;
    assert_eq!(in_another_form, at(7, When::Before));
}

#[tokio::test(start_paused = true)]
async fn silence_is_never_taken_for_not_stored() {
    let silence = opened([lost()], None, Sender::OnlyThisCall).await;
    assert_eq!(silence, Err(Error::NoAnswer("no acknowledgement in time".into())));
    let unreadable = opened([Published::Conflict], None, Sender::OnlyThisCall).await;
    assert!(matches!(unreadable, Err(Error::NoAnswer(_))), "{unreadable:?}");
    let late =
        opened([lost(), lost(), Published::Stored { sequence: 9 }], None, Sender::PerhapsAnother);
    assert_eq!(late.await, at(9, When::Now));
}

#[tokio::test(start_paused = true)]
async fn a_full_log_is_named_unless_an_earlier_publish_may_be_stored() {
    let full = || Published::Unknown(Unknown::Full);
    assert_eq!(opened([full()], None, Sender::OnlyThisCall).await, Err(Error::Full));
    let busy = [Published::Unknown(Unknown::Busy), full()];
    assert_eq!(opened(busy, None, Sender::OnlyThisCall).await, Err(Error::Full));
    let after_silence = opened([lost(), full()], None, Sender::OnlyThisCall).await;
    assert_eq!(after_silence, Err(Error::NoAnswer("the log is full".into())));
}

impl Broker for Script {
    fn publish_once<'a>(&'a self, _: &'a Slot, _: Bytes) -> BoxFuture<'a, Published> {
        let mut answers = self.answers.lock().unwrap();
        let last = answers.len() == 1;
        let answer = if last { answers.front().cloned() } else { answers.pop_front() };
        async { answer.unwrap() }.boxed()
    }

    fn last<'a>(
        &'a self,
        _: &'a str,
        _: &'a str,
    ) -> BoxFuture<'a, Result<Option<Stored>, Unavailable>> {
        async { Ok(self.stored.clone()) }.boxed()
    }

    crate::unasked!(publish publish_batch pull settle last_of_many inspect);
    crate::unasked!(serve request flush);
}
