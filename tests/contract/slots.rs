//! A slot is written once, no matter who writes, and which node leads.

use std::time::Duration;

use bytes::Bytes;
use quadrille::Slot;
use quadrille::broker::{Broker as _, Published, Unknown};
use quadrille::nats::NatsBroker;
use serde_json::{Value, json};
use tests::eventually::within_patience;

use crate::under_test::UnderTest;

contract!(
    h01_of_twenty_racing_writers_exactly_one_is_stored,
    a_guard_with_a_wildcard_is_safe_on_one_server_only,
    guard_0_passes_again_once_the_message_is_gone,
    the_stream_refuses_a_second_message_whoever_sends_it,
    a_guard_with_the_right_sequence_cannot_overwrite,
    racers_without_a_guard_store_one_message,
    what_forbids_deleting_cannot_be_taken_back,
    a_message_id_swallows_the_message_of_another_subject,
);

/// Answers to the writers of one race, once no answer is unknown any longer.
#[derive(Default)]
struct Race {
    stored: usize,
    refused: usize,
    unanswered: usize,
}

async fn h01_of_twenty_racing_writers_exactly_one_is_stored(test: UnderTest) {
    const ROUNDS: usize = 300;
    let test = test.with_stream().await;
    // The guard alone must ensure it.
    let no_limit = json!({ "max_msgs_per_subject": -1, "discard_new_per_subject": false });
    test.raw.change_stream(test.flow.stream, no_limit).await.unwrap();
    let brokers = futures::future::join_all([(), (), (), ()].map(|()| test.another())).await;
    let slots: Vec<_> = (0..ROUNDS).map(|at| test.slot("payment", &format!("s{at}"))).collect();
    for (group, slots) in slots.chunks(10).enumerate() {
        let races = futures::future::join_all(slots.iter().map(|slot| race(&brokers, slot)));
        let step_down = async {
            if group % 8 == 4 {
                test.raw.step_down(test.flow.stream).await;
            }
        };
        for race in tokio::join!(races, step_down).0 {
            assert_eq!(race.stored + race.refused, 20);
            assert!(race.stored == 1 || race.stored == 0 && race.unanswered > 0);
        }
    }
    assert_eq!(test.stored().await, 300);
}

async fn race(brokers: &[NatsBroker], slot: &Slot) -> Race {
    let writers = (0..20).map(|at| insist(&brokers[at % brokers.len()], slot, at));
    let mut race = Race::default();
    for (answer, unanswered) in futures::future::join_all(writers).await {
        race.unanswered += usize::from(unanswered);
        match answer {
            Published::Stored { .. } => race.stored += 1,
            Published::Conflict => race.refused += 1,
            other => panic!("{other:?}"),
        }
    }
    race
}

/// Publishes until the answer decides, and says whether an answer was lost on the way.
async fn insist(broker: &NatsBroker, slot: &Slot, writer: usize) -> (Published, bool) {
    let mut unanswered = false;
    let decided = async {
        loop {
            match broker.publish_once(slot, Bytes::from(writer.to_string())).await {
                Published::Unknown(why) => {
                    unanswered |= matches!(why, Unknown::NoAnswer(_));
                    tokio::time::sleep(Duration::from_millis(fastrand::u64(5..50))).await;
                }
                answer => return answer,
            }
        }
    };
    let answer = within_patience("an answer that decides", decided).await;
    (answer, unanswered)
}

async fn a_guard_with_a_wildcard_is_safe_on_one_server_only(test: UnderTest) {
    let test = test.with_other_stream(json!({})).await;
    let subjects = test.flow.subjects;
    let mut broken = false;
    for round in 0..300 {
        let (exact, other) = (format!("{subjects}.a.{round}"), format!("{subjects}.b.{round}"));
        let wildcard = format!("{subjects}.*.{round}");
        let exact_guard = [("Nats-Expected-Last-Subject-Sequence", "0")];
        let wildcard_guard = [
            ("Nats-Expected-Last-Subject-Sequence", "0"),
            ("Nats-Expected-Last-Subject-Sequence-Subject", wildcard.as_str()),
        ];
        let (exact, other) = tokio::join!(
            test.raw.publish(&exact, &exact_guard, ""),
            test.raw.publish(&other, &wildcard_guard, ""),
        );
        // The first was there, and the guard forbade storing the second after it.
        broken |= matches!((exact, other), (Ok(first), Ok(second)) if first < second);
        if broken {
            break;
        }
    }
    assert_eq!(broken, test.clustered);
}

async fn guard_0_passes_again_once_the_message_is_gone(test: UnderTest) {
    let test = test.with_other_stream(json!({})).await;
    let first = test.write("payment", "s1").await;
    assert_eq!(test.write("payment", "s1").await, Published::Conflict);
    test.raw.api(&format!("STREAM.PURGE.{}", test.flow.stream), Value::Null).await.unwrap();
    let second = test.write("payment", "s1").await;
    assert_eq!((first, second), (stored(1), stored(2)));
}

async fn the_stream_refuses_a_second_message_whoever_sends_it(test: UnderTest) {
    let test = test.with_stream().await;
    test.raw.change_stream(test.flow.stream, json!({ "allow_atomic": true })).await.unwrap();
    let slot = test.slot("payment", "s1");
    assert_eq!(test.raw.publish(slot.subject(), &[], "first").await, Ok(1));
    let refused = (10077, "maximum messages per subject exceeded".to_owned());
    assert_eq!(test.raw.publish(slot.subject(), &[], "second").await, Err(refused.clone()));
    assert_eq!(test.broker.publish(slot.subject(), Bytes::new()).await, Published::Conflict);
    let batch = [("Nats-Batch-Id", "b"), ("Nats-Batch-Sequence", "1"), ("Nats-Batch-Commit", "1")];
    assert_eq!(test.raw.publish(slot.subject(), &batch, "third").await, Err(refused));
    assert_eq!(test.stored().await, 1);
}

async fn a_guard_with_the_right_sequence_cannot_overwrite(test: UnderTest) {
    let test = test.with_stream().await;
    let slot = test.slot("payment", "s1");
    assert_eq!(test.write("payment", "s1").await, stored(1));
    let guard = |sequence| [("Nats-Expected-Last-Subject-Sequence", sequence)];
    let (code, _) = test.raw.publish(slot.subject(), &guard("1"), "x").await.unwrap_err();
    assert_eq!(code, 10077);
    let (code, _) = test.raw.publish(slot.subject(), &guard("2"), "x").await.unwrap_err();
    assert_eq!(code, 10071);
}

async fn racers_without_a_guard_store_one_message(test: UnderTest) {
    let test = test.with_stream().await;
    for round in 0..40_u64 {
        let slot = test.slot("payment", &format!("s{round}"));
        let racers = (0..8).map(|racer| {
            let guarded = round % 2 == 1 && racer % 2 == 1;
            let guard = [("Nats-Expected-Last-Subject-Sequence", "0")];
            let headers = if guarded { guard.to_vec() } else { Vec::new() };
            let (raw, subject) = (&test.raw, slot.subject());
            async move { raw.publish(subject, &headers, "").await }
        });
        let answers = futures::future::join_all(racers).await;
        assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1, "{answers:?}");
    }
    assert_eq!(test.stored().await, 40);
}

async fn what_forbids_deleting_cannot_be_taken_back(test: UnderTest) {
    let test = test.with_stream().await;
    test.write("payment", "s1").await;
    let stream = test.flow.stream;
    for allowed in [json!({ "deny_delete": false }), json!({ "deny_purge": false })] {
        let refused = test.raw.change_stream(stream, allowed).await.unwrap_err().to_string();
        assert!(refused.contains("10052"), "{refused}");
    }
    let purge = test.raw.api(&format!("STREAM.PURGE.{stream}"), Value::Null).await;
    let delete = test.raw.api(&format!("STREAM.MSG.DELETE.{stream}"), json!({ "seq": 1 })).await;
    assert!(purge.is_err() && delete.is_err(), "{purge:?} {delete:?}");
    let no_limit = json!({ "max_msgs_per_subject": -1, "discard_new_per_subject": false });
    test.raw.change_stream(stream, no_limit).await.unwrap();
    assert_eq!(test.stored().await, 1);
}

async fn a_message_id_swallows_the_message_of_another_subject(test: UnderTest) {
    let test = test.with_stream().await;
    let id = [("Nats-Msg-Id", "the same")];
    let first = test.raw.publish(test.slot("payment", "s1").subject(), &id, "").await;
    let second = test.raw.publish(test.slot("payment", "s2").subject(), &id, "").await;
    assert_eq!((first, second), (Ok(1), Ok(1)));
    assert_eq!(test.stored().await, 1);
}

fn stored(sequence: u64) -> Published {
    Published::Stored { sequence }
}
