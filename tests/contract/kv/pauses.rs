//! Pauses: nothing is delivered while one lasts, it ends by itself, and one that lasts longer than
//! we ask for is another's.

use std::time::Duration;

use jiff::Timestamp;
use quadrille::broker::{Broker as _, Pause, Pulled, Settle};
use serde_json::json;
use tests::eventually::eventually;
use tokio::time::Instant;

use crate::under_test::{UnderTest, next};

contract!(
    nothing_is_delivered_while_a_pause_lasts_and_it_ends_by_itself,
    what_is_in_hand_is_kept_and_settled_during_a_pause,
    a_longer_pause_is_reported_and_neither_shortened_nor_ended,
    our_own_pause_is_made_longer_and_ended,
    a_pause_until_a_time_that_has_passed_pauses_nothing,
    a_pause_outlives_a_change_of_leaders,
    a_durable_that_does_not_exist_cannot_be_paused,
);

const DURABLE: &str = "charge-customer";

impl UnderTest {
    /// So long from now, by the server's clock.
    async fn in_seconds(&self, seconds: i64) -> Timestamp {
        let now = self.raw.stream(self.flow.stream).await["ts"].as_str().unwrap().to_owned();
        now.parse::<Timestamp>().unwrap() + jiff::SignedDuration::from_secs(seconds)
    }

    async fn pause(&self, until: Timestamp) -> Pause {
        let stream = self.flow.stream;
        eventually("a pause", async || self.broker.pause(stream, DURABLE, until).await.ok()).await
    }

    async fn resume(&self, until: Timestamp) -> Pause {
        let stream = self.flow.stream;
        eventually("an answer", async || self.broker.resume(stream, DURABLE, until).await.ok())
            .await
    }

    async fn paused(&self) -> Pause {
        let stream = self.flow.stream;
        eventually("an answer", async || self.broker.paused(stream, DURABLE).await.ok()).await
    }
}

/// How long it still lasts, and that it ends then.
fn remaining(pause: &Pause, until: Timestamp) -> Duration {
    match pause {
        Pause::On { until: live, remaining } => {
            assert_eq!(*live, until);
            *remaining
        }
        Pause::Off => panic!("it is not paused"),
    }
}

async fn nothing_is_delivered_while_a_pause_lasts_and_it_ends_by_itself(test: UnderTest) {
    let test = test.with_durable().await;
    assert_eq!(test.paused().await, Pause::Off);
    let until = test.in_seconds(3).await;
    let asked = Instant::now();
    let paused = test.pause(until).await;
    assert!(!paused.is_longer_than(until));
    let lasts = remaining(&paused, until);
    assert!(lasts <= Duration::from_secs(3), "{lasts:?}");
    test.triggers(3).await;
    let mut pull = test.pull().await;
    // It delivers again after the pause, and not before.
    for _ in 0..3 {
        let delivered = next(&mut pull, 3).await;
        assert!(asked.elapsed() > lasts, "{:?}, but it lasts {lasts:?}", asked.elapsed());
        test.broker.settle(&delivered.receipt, Settle::Ack).await;
    }
    assert_eq!(test.paused().await, Pause::Off);
}

async fn what_is_in_hand_is_kept_and_settled_during_a_pause(test: UnderTest) {
    let test = test.with_durable().await;
    test.triggers(2).await;
    let mut pull = test.pull().await;
    let held = next(&mut pull, 1).await;
    let until = test.in_seconds(30).await;
    test.pause(until).await;
    // For three times `ack_wait`.
    let end = Instant::now() + test.topology.ack_wait * 3;
    while Instant::now() < end {
        test.broker.settle(&held.receipt, Settle::Progress).await;
        let heard = tokio::time::timeout(test.topology.ack_wait / 4, pull.next(2)).await;
        assert!(heard.is_err(), "{heard:?}");
    }
    test.broker.settle(&held.receipt, Settle::Ack).await;
    eventually("nothing is in flight", async || {
        let info = test.raw.durable(test.flow.stream, DURABLE).await;
        (info["num_ack_pending"] == 0).then_some(())
    })
    .await;
    assert_eq!(test.resume(until).await, Pause::Off);
    let delivered = next(&mut pull, 2).await;
    assert_eq!((delivered.message.sequence, delivered.deliveries), (2, 1));
}

async fn a_longer_pause_is_reported_and_neither_shortened_nor_ended(test: UnderTest) {
    let test = test.with_durable().await;
    let theirs: Timestamp = "2100-01-01T00:00:00Z".parse().unwrap();
    let verb = format!("CONSUMER.PAUSE.{}.{DURABLE}", test.flow.stream);
    test.raw.api(&verb, json!({ "pause_until": theirs })).await.unwrap();
    eventually("it holds", async || {
        test.paused().await.is_longer_than(theirs - year()).then_some(())
    })
    .await;
    let ours = test.in_seconds(2).await;
    for seen in [test.pause(ours).await, test.resume(ours).await, test.paused().await] {
        assert!(seen.is_longer_than(ours), "{seen:?}");
        let lasts = remaining(&seen, theirs);
        assert!(lasts > Duration::from_secs(3_600), "{lasts:?}");
    }
    // An operator ends it by the same rule, and with any stock tool.
    assert_eq!(test.resume(theirs).await, Pause::Off);
}

fn year() -> jiff::SignedDuration {
    jiff::SignedDuration::from_hours(365 * 24)
}

async fn our_own_pause_is_made_longer_and_ended(test: UnderTest) {
    let test = test.with_durable().await;
    let first = test.in_seconds(20).await;
    let second = test.in_seconds(40).await;
    remaining(&test.pause(first).await, first);
    // Asking twice is asking once.
    remaining(&test.pause(first).await, first);
    remaining(&test.pause(second).await, second);
    // The first one's writer comes late.
    assert!(test.resume(first).await.is_longer_than(first));
    assert_eq!(test.resume(second).await, Pause::Off);
    assert_eq!(test.resume(second).await, Pause::Off);
    test.triggers(1).await;
    next(&mut test.pull().await, 1).await;
}

async fn a_pause_until_a_time_that_has_passed_pauses_nothing(test: UnderTest) {
    let test = test.with_durable().await;
    assert_eq!(test.pause(test.in_seconds(-5).await).await, Pause::Off);
    let until = test.in_seconds(20).await;
    test.pause(until).await;
    let past = test.in_seconds(-5).await;
    remaining(&test.pause(past).await, until);
}

async fn a_pause_outlives_a_change_of_leaders(test: UnderTest) {
    let test = test.with_durable().await;
    test.triggers(1).await;
    let mut pull = test.pull().await;
    let until = test.in_seconds(60).await;
    for _ in 0..3 {
        test.durable_step_down_now().await;
        remaining(&test.pause(until).await, until);
        test.durable_step_down_now().await;
        remaining(&test.paused().await, until);
        let heard: Result<Pulled, _> =
            tokio::time::timeout(Duration::from_millis(500), pull.next(1)).await;
        assert!(heard.is_err(), "{heard:?}");
        assert_eq!(test.resume(until).await, Pause::Off);
        let delivered = next(&mut pull, 1).await;
        test.broker.settle(&delivered.receipt, Settle::Retry(Duration::ZERO)).await;
    }
}

impl UnderTest {
    async fn durable_step_down_now(&self) {
        self.raw.durable_step_down(self.flow.stream, DURABLE).await;
    }
}

async fn a_durable_that_does_not_exist_cannot_be_paused(test: UnderTest) {
    let test = test.with_stream().await;
    let until = test.in_seconds(5).await;
    for broken in [
        test.broker.pause(test.flow.stream, DURABLE, until).await,
        test.broker.resume(test.flow.stream, DURABLE, until).await,
        test.broker.paused(test.flow.stream, DURABLE).await,
    ] {
        let why = broken.unwrap_err().to_string();
        assert!(why.contains("charge-customer"), "{why}");
    }
}
