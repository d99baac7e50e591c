//! What happens to a delivery, and what a durable does with those that no worker settled.

use std::time::Duration;

use futures::StreamExt as _;
use quadrille::broker::{Broker as _, Pause, Pulled, Settle};
use serde_json::{Value, json};
use tests::eventually::{eventually, within_patience};
use tokio::time::Instant;

use crate::under_test::{UnderTest, next};

contract!(
    a_durable_says_how_far_it_is,
    a_late_ack_settles_the_second_delivery,
    progress_starts_the_wait_over,
    every_return_and_every_expiry_counts_a_delivery,
    a_retry_comes_no_sooner_than_asked,
    a_terminated_message_never_comes_again_and_says_why,
    delayed_retries_fill_what_may_be_in_flight,
    redeliveries_ignore_what_may_be_in_flight,
    the_last_of_limited_deliveries_is_dropped_in_silence,
    a_backoff_overwrites_ack_wait,
    overlapping_filters_are_refused,
    new_filters_see_new_messages_only,
    a_new_durable_on_an_old_stream_starts_at_its_first_message,
);

const DURABLE: &str = "charge-customer";

async fn a_durable_says_how_far_it_is(test: UnderTest) {
    let test = test.with_durable().await;
    let stream = test.flow.stream;
    let none = test.broker.durable(stream, "no-such-durable").await.unwrap();
    assert_eq!(none, None);
    test.triggers(3).await;
    let mut pull = test.pull().await;
    let first = next(&mut pull, 1).await;
    next(&mut pull, 1).await;
    let state = eventually("it is known how far it is", async || {
        let state = test.broker.durable(stream, DURABLE).await.ok().flatten()?;
        (state.pending == 1 && state.in_hand == 2).then_some(state)
    })
    .await;
    assert_eq!(state.pause, Pause::Off);
    test.broker.settle(&first.receipt, Settle::Ack).await;
    eventually("one is settled", async || {
        let state = test.broker.durable(stream, DURABLE).await.ok().flatten()?;
        (state.in_hand == 1).then_some(())
    })
    .await;
}

async fn a_late_ack_settles_the_second_delivery(test: UnderTest) {
    let test = test.with_durable().await;
    test.triggers(1).await;
    let mut pull = test.pull().await;
    let first = next(&mut pull, 1).await;
    let second = next(&mut pull, 1).await;
    assert_eq!((first.deliveries, second.deliveries), (1, 2));
    test.broker.settle(&first.receipt, Settle::Ack).await;
    eventually("nothing is in flight", async || {
        let info = test.raw.durable(test.flow.stream, DURABLE).await;
        (info["num_ack_pending"] == 0).then_some(())
    })
    .await;
}

async fn progress_starts_the_wait_over(test: UnderTest) {
    let test = test.with_durable().await;
    test.triggers(1).await;
    let mut pull = test.pull().await;
    let held = next(&mut pull, 2).await;
    let end = Instant::now() + test.topology.ack_wait * 3;
    while Instant::now() < end {
        test.broker.settle(&held.receipt, Settle::Progress).await;
        let again = tokio::time::timeout(test.topology.ack_wait / 4, pull.next(1)).await;
        assert!(again.is_err(), "{again:?}");
    }
    assert_eq!(next(&mut pull, 1).await.deliveries, 2);
}

async fn every_return_and_every_expiry_counts_a_delivery(test: UnderTest) {
    let test = test.with_durable().await;
    test.triggers(1).await;
    let mut pull = test.pull().await;
    for deliveries in 1..=4 {
        let delivered = next(&mut pull, 1).await;
        assert_eq!(delivered.deliveries, deliveries);
        if deliveries % 2 == 1 {
            test.broker.settle(&delivered.receipt, Settle::Retry(Duration::ZERO)).await;
        }
    }
}

async fn a_retry_comes_no_sooner_than_asked(test: UnderTest) {
    let test = test.with_durable().await;
    test.triggers(1).await;
    let mut pull = test.pull().await;
    let delivered = next(&mut pull, 1).await;
    let (asked, delay) = (Instant::now(), Duration::from_millis(1_500));
    test.broker.settle(&delivered.receipt, Settle::Retry(delay)).await;
    assert_eq!(next(&mut pull, 1).await.deliveries, 2);
    assert!(asked.elapsed() >= delay);
}

async fn a_terminated_message_never_comes_again_and_says_why(test: UnderTest) {
    let test = test.with_durable().await;
    test.triggers(1).await;
    let advisory =
        format!("$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.{}.{DURABLE}", test.flow.stream);
    let mut advisories = test.raw.client.subscribe(advisory).await.unwrap();
    test.raw.client.flush().await.unwrap();
    let mut pull = test.pull().await;
    let delivered = next(&mut pull, 1).await;
    test.broker.settle(&delivered.receipt, Settle::Term("set aside: not JSON")).await;
    let advisory = within_patience("the advisory", advisories.next()).await.unwrap();
    let advisory: Value = serde_json::from_slice(&advisory.payload).unwrap();
    assert_eq!(
        (&advisory["reason"], &advisory["stream_seq"]),
        (&json!("set aside: not JSON"), &json!(1))
    );
    let again = tokio::time::timeout(test.topology.ack_wait * 2, pull.next(1)).await;
    assert!(again.is_err(), "{again:?}");
}

async fn delayed_retries_fill_what_may_be_in_flight(test: UnderTest) {
    let test = test.with_durable().await;
    test.raw
        .change_durable(test.flow.stream, DURABLE, json!({ "max_ack_pending": 2 }))
        .await
        .unwrap();
    test.triggers(3).await;
    let mut pull = test.pull().await;
    for _ in 0..2 {
        let delivered = next(&mut pull, 1).await;
        test.broker.settle(&delivered.receipt, Settle::Retry(Duration::from_secs(3_600))).await;
    }
    let third = tokio::time::timeout(Duration::from_millis(1_500), pull.next(1)).await;
    assert!(third.is_err(), "{third:?}");
}

async fn redeliveries_ignore_what_may_be_in_flight(test: UnderTest) {
    let test = test.with_durable().await;
    test.triggers(3).await;
    let mut pull = test.pull().await;
    for _ in 0..3 {
        next(&mut pull, 1).await;
    }
    test.raw
        .change_durable(test.flow.stream, DURABLE, json!({ "max_ack_pending": 1 }))
        .await
        .unwrap();
    let mut again = Vec::new();
    while again.len() < 3 {
        let delivered = next(&mut pull, 3).await;
        test.broker.settle(&delivered.receipt, Settle::Progress).await;
        again.push(delivered);
    }
    assert!(again.iter().all(|delivered| delivered.deliveries == 2), "{again:?}");
    let info = test.raw.durable(test.flow.stream, DURABLE).await;
    assert_eq!(info["num_ack_pending"], 3);
}

async fn the_last_of_limited_deliveries_is_dropped_in_silence(test: UnderTest) {
    let test = test.with_durable().await;
    test.raw.change_durable(test.flow.stream, DURABLE, json!({ "max_deliver": 1 })).await.unwrap();
    test.triggers(1).await;
    let mut pull = test.pull().await;
    next(&mut pull, 1).await;
    let again = tokio::time::timeout(test.topology.ack_wait * 2, pull.next(1)).await;
    assert!(again.is_err(), "{again:?}");
    let info = test.raw.durable(test.flow.stream, DURABLE).await;
    assert_eq!((&info["num_pending"], &info["num_ack_pending"]), (&json!(0), &json!(0)));
    assert_eq!(test.stored().await, 1);
}

async fn a_backoff_overwrites_ack_wait(test: UnderTest) {
    let test = test.with_durable().await;
    let backoff = json!({ "backoff": [5_000_000_000_u64, 6_000_000_000_u64], "max_deliver": 5 });
    test.raw.change_durable(test.flow.stream, DURABLE, backoff).await.unwrap();
    let info = test.raw.durable(test.flow.stream, DURABLE).await;
    assert_eq!(info["config"]["ack_wait"], 5_000_000_000_u64);
}

async fn overlapping_filters_are_refused(test: UnderTest) {
    let test = test.with_durable().await;
    let overlap = json!({
        "filter_subject": null,
        "filter_subjects": [test.flow.filter("*"), test.flow.filter("inventory")],
    });
    let refused = test.raw.change_durable(test.flow.stream, DURABLE, overlap).await.unwrap_err();
    assert!(refused.to_string().contains("10138"), "{refused}");
}

async fn new_filters_see_new_messages_only(test: UnderTest) {
    let test = test.with_durable().await;
    test.write("payment", "before").await;
    test.write("inventory", "between").await;
    let mut pull = test.pull().await;
    let between = next(&mut pull, 1).await;
    test.broker.settle(&between.receipt, Settle::Ack).await;
    eventually("it is settled", async || {
        let info = test.raw.durable(test.flow.stream, DURABLE).await;
        (info["ack_floor"]["stream_seq"] == 2).then_some(())
    })
    .await;
    let both = json!({
        "filter_subject": null,
        "filter_subjects": [test.flow.filter("inventory"), test.flow.filter("payment")],
    });
    test.raw.change_durable(test.flow.stream, DURABLE, both).await.unwrap();
    test.write("payment", "after").await;
    let Pulled::Message(delivered) = within_patience("a delivery", pull.next(1)).await else {
        panic!("the durable is gone")
    };
    assert_eq!(delivered.message.subject, test.slot("payment", "after").subject());
}

async fn a_new_durable_on_an_old_stream_starts_at_its_first_message(test: UnderTest) {
    let test = test.with_stream().await;
    test.triggers(3).await;
    let stream = test.flow.stream;
    let config = json!({
        "durable_name": DURABLE,
        "ack_policy": "explicit",
        "filter_subject": test.flow.filter("inventory"),
    });
    let body = json!({ "stream_name": stream, "config": config, "action": "create" });
    test.raw.api(&format!("CONSUMER.CREATE.{stream}.{DURABLE}"), body).await.unwrap();
    assert_eq!(next(&mut test.pull().await, 1).await.message.sequence, 1);
}
