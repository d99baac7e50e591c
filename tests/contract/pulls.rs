//! Pulling: as much as is free, no matter what happens to requests, leaders and connections.

use std::collections::BTreeSet;
use std::time::Duration;

use quadrille::broker::{Broker as _, Pull, Pulled, Settle};
use serde_json::{Value, json};
use tests::eventually::{eventually, within_patience};
use tests::raw;

use crate::under_test::{UnderTest, next};

contract!(
    a_delivery_says_what_was_stored_and_is_settled_once,
    no_more_is_in_flight_than_was_free,
    every_trigger_is_delivered_once_and_in_order,
    a_cancelled_wait_loses_nothing,
    a_message_that_comes_late_is_delivered_to_who_waits,
    two_replicas_share_the_work,
    what_was_not_handed_out_comes_back_at_the_end,
    a_deleted_durable_ends_the_pull,
    a_durable_that_never_was_counts_as_deleted,
    a_pull_goes_on_after_the_leader_steps_down,
    a_pull_waits_out_a_pause,
    a_forged_status_line_is_delivered_like_any_other,
);

async fn a_delivery_says_what_was_stored_and_is_settled_once(test: UnderTest) {
    let test = test.with_durable().await;
    test.triggers(1).await;
    let mut pull = test.pull().await;
    let delivered = next(&mut pull, 4).await;
    assert_eq!(delivered.message.subject, test.slot("inventory", "s0").subject());
    assert_eq!((delivered.message.sequence, delivered.deliveries), (1, 1));
    assert_eq!(delivered.message.payload, "{}");
    let content_type = ("content-type".to_owned(), "application/cloudevents+json".to_owned());
    assert_eq!(delivered.message.headers, [content_type]);
    let read = test.broker.last(test.flow.stream, &delivered.message.subject).await;
    assert_eq!(read.unwrap().unwrap().stored_at, delivered.message.stored_at);
    test.broker.settle(&delivered.receipt, Settle::Ack).await;
    assert_silent(&mut pull, test.topology.ack_wait * 2).await;
}

/// A pull that no longer asks for few messages because it has just begun.
async fn well_begun(test: &UnderTest) -> Box<dyn Pull> {
    let mut pull = test.pull().await;
    for at in 0..5 {
        test.write("inventory", &format!("first-{at}")).await;
        let delivered = next(&mut pull, 1).await;
        test.broker.settle(&delivered.receipt, Settle::Ack).await;
    }
    pull
}

async fn no_more_is_in_flight_than_was_free(test: UnderTest) {
    let test = test.with_durable().await;
    let mut pull = well_begun(&test).await;
    test.triggers(20).await;
    let first = next(&mut pull, 3).await;
    eventually("three are in flight", async || (in_flight(&test).await == 3).then_some(())).await;
    next(&mut pull, 2).await;
    next(&mut pull, 1).await;
    assert_eq!(in_flight(&test).await, 3);
    test.broker.settle(&first.receipt, Settle::Ack).await;
    next(&mut pull, 1).await;
    assert_eq!(in_flight(&test).await, 3);
}

async fn every_trigger_is_delivered_once_and_in_order(test: UnderTest) {
    let test = test.with_durable().await;
    test.triggers(2_000).await;
    let mut pull = test.pull().await;
    for sequence in 1..=2_000 {
        // A worker whose slots fill and empty.
        let free = 1 + usize::try_from(sequence % 50).unwrap();
        let delivered = next(&mut pull, free).await;
        assert_eq!((delivered.message.sequence, delivered.deliveries), (sequence, 1));
        test.broker.settle(&delivered.receipt, Settle::Ack).await;
    }
    eventually("all are settled", async || (in_flight(&test).await == 0).then_some(())).await;
}

async fn a_cancelled_wait_loses_nothing(test: UnderTest) {
    let test = test.with_durable().await;
    let mut pull = test.pull().await;
    let mut seen = BTreeSet::new();
    let writer = test.triggers(300);
    let reader = async {
        while seen.len() < 300 {
            let wait = Duration::from_micros(fastrand::u64(0..2_000));
            match tokio::time::timeout(wait, pull.next(8)).await {
                Ok(Pulled::Message(delivered)) => {
                    assert!(seen.insert(delivered.message.sequence), "{delivered:?}");
                    test.broker.settle(&delivered.receipt, Settle::Ack).await;
                }
                Ok(Pulled::Deleted) => panic!("the durable is gone"),
                Err(_) => {}
            }
        }
    };
    within_patience("300 deliveries", async { tokio::join!(writer, reader) }).await;
}

async fn a_message_that_comes_late_is_delivered_to_who_waits(test: UnderTest) {
    let test = test.with_durable().await;
    let mut pull = test.pull().await;
    // Long enough for a few requests to expire.
    assert_silent(&mut pull, Duration::from_millis(2_500)).await;
    test.triggers(1).await;
    next(&mut pull, 4).await;
}

async fn two_replicas_share_the_work(test: UnderTest) {
    let test = test.with_durable().await;
    let other = test.another().await;
    let mut pulls =
        [test.pull().await, other.pull(test.flow.stream, "charge-customer").await.unwrap()];
    test.triggers(100).await;
    let mut seen = BTreeSet::new();
    for at in 0..100 {
        let delivered = next(&mut pulls[at % 2], 1).await;
        assert!(seen.insert(delivered.message.sequence), "{delivered:?}");
        test.broker.settle(&delivered.receipt, Settle::Ack).await;
    }
}

async fn what_was_not_handed_out_comes_back_at_the_end(test: UnderTest) {
    let test = test.with_durable().await;
    let mut pull = well_begun(&test).await;
    test.triggers(10).await;
    let handed_out = next(&mut pull, 10).await;
    let rest = pull.stop().await;
    let sequences: Vec<_> = rest.iter().map(|delivered| delivered.message.sequence).collect();
    assert_eq!(sequences, (7..=15).collect::<Vec<_>>());
    test.broker.settle(&handed_out.receipt, Settle::Ack).await;
    for delivered in &rest {
        test.broker.settle(&delivered.receipt, Settle::Retry(Duration::ZERO)).await;
    }
    // Another replica has them at once.
    let mut pull = test.pull().await;
    for _ in 0..9 {
        assert_eq!(next(&mut pull, 9).await.deliveries, 2);
    }
}

async fn a_deleted_durable_ends_the_pull(test: UnderTest) {
    let test = test.with_durable().await;
    let mut pull = test.pull().await;
    let delete = async {
        let stream = test.flow.stream;
        eventually("the pull waits", async || {
            let info = test.raw.durable(stream, "charge-customer").await;
            (info["num_waiting"] == 1).then_some(())
        })
        .await;
        let verb = format!("CONSUMER.DELETE.{stream}.charge-customer");
        test.raw.api(&verb, Value::Null).await.unwrap();
    };
    let ended = within_patience("the end", async { tokio::join!(pull.next(4), delete).0 }).await;
    assert!(matches!(ended, Pulled::Deleted), "{ended:?}");
}

async fn a_durable_that_never_was_counts_as_deleted(test: UnderTest) {
    let test = test.with_stream().await;
    let mut pull = test.pull().await;
    let ended = within_patience("the end", pull.next(4)).await;
    assert!(matches!(ended, Pulled::Deleted), "{ended:?}");
}

async fn a_pull_goes_on_after_the_leader_steps_down(test: UnderTest) {
    let test = test.with_durable().await;
    let mut pull = test.pull().await;
    let mut seen = BTreeSet::new();
    for round in 0..4 {
        let ids: Vec<_> = (0..25).map(|at| format!("r{round}-{at}")).collect();
        for id in &ids {
            test.write("inventory", id).await;
        }
        match round {
            0 | 2 => test.raw.durable_step_down(test.flow.stream, "charge-customer").await,
            _ => test.raw.step_down(test.flow.stream).await,
        }
        while seen.len() < 25 * (round + 1) {
            let delivered = next(&mut pull, 8).await;
            seen.insert(delivered.message.sequence);
            test.broker.settle(&delivered.receipt, Settle::Ack).await;
        }
    }
}

/// A pause is how an operator stops all replicas: waiting requests stay, nothing comes, nothing is
/// lost.
async fn a_pull_waits_out_a_pause(test: UnderTest) {
    let test = test.with_durable().await;
    let pause = format!("CONSUMER.PAUSE.{}.charge-customer", test.flow.stream);
    test.raw.api(&pause, json!({ "pause_until": "2100-01-01T00:00:00Z" })).await.unwrap();
    eventually("it holds", async || {
        let info = test.raw.durable(test.flow.stream, "charge-customer").await;
        (info["paused"] == true).then_some(())
    })
    .await;
    test.triggers(1).await;
    let mut pull = test.pull().await;
    assert_silent(&mut pull, Duration::from_millis(1_500)).await;
    test.raw.api(&pause, Value::Null).await.unwrap();
    assert_eq!(next(&mut pull, 4).await.deliveries, 1);
}

async fn a_forged_status_line_is_delivered_like_any_other(test: UnderTest) {
    let test = test.with_durable().await;
    let header = b"NATS/1.0 409 Consumer Deleted\r\nce-id: 7\r\n\r\n";
    let slot = test.slot("inventory", "forged");
    raw::publish_bytes(&test.urls[0], slot.subject(), header, "{}").await;
    // Another connection sent it, so there is no answer to wait for.
    eventually("it is stored", async || (test.stored().await == 1).then_some(())).await;
    test.triggers(1).await;
    let mut pull = test.pull().await;
    let forged = next(&mut pull, 4).await;
    assert_eq!(forged.message.subject, slot.subject());
    assert_eq!(forged.message.headers, [("ce-id".to_owned(), "7".to_owned())]);
    assert_eq!(next(&mut pull, 4).await.message.sequence, 2);
}

/// Nothing comes for this long, although four messages are asked for.
async fn assert_silent(pull: &mut Box<dyn Pull>, wait: Duration) {
    let heard: Result<Pulled, _> = tokio::time::timeout(wait, pull.next(4)).await;
    assert!(heard.is_err(), "{heard:?}");
}

async fn in_flight(test: &UnderTest) -> u64 {
    let info = test.raw.durable(test.flow.stream, "charge-customer").await;
    info["num_ack_pending"].as_u64().unwrap()
}
