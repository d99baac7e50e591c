//! Atomic batches: all or nothing, every message under its own guard.

use bytes::Bytes;
use quadrille::broker::{BatchMessage, Broker as _, Published, Unknown};

use crate::under_test::UnderTest;

contract!(
    a_batch_is_stored_whole_and_in_order,
    one_failed_guard_stores_nothing,
    the_same_batch_again_is_a_conflict,
    one_subject_twice_in_a_batch_is_rejected,
    a_batch_of_none_or_of_too_many_is_rejected,
    a_batch_over_two_streams_is_incomplete,
    an_id_twice_in_a_batch_is_refused,
    batches_of_one_process_may_interleave,
    a_process_with_too_many_batches_is_told_to_wait,
);

/// A message to `<case>.sku.<name>`.
fn message(test: &UnderTest, name: impl ToString, expected_last: u64) -> BatchMessage {
    let subject = format!("{}.sku.{}", test.flow.subjects, name.to_string());
    BatchMessage { subject, expected_last, payload: Bytes::from(name.to_string()) }
}

async fn a_batch_is_stored_whole_and_in_order(test: UnderTest) {
    let test = test.with_stock().await;
    let batch: Vec<_> = (0..1_000).map(|at| message(&test, at, 0)).collect();
    let answer = test.broker.publish_batch(batch).await;
    assert_eq!(answer, Published::Stored { sequence: 1_000 });
    for at in [0, 999] {
        let subject = message(&test, at, 0).subject;
        let stored = test.broker.last(test.flow.stream, &subject).await.unwrap().unwrap();
        assert_eq!((stored.sequence, stored.payload), (at + 1, Bytes::from(at.to_string())));
    }
    let alone = test.broker.publish_batch(vec![message(&test, "alone", 0)]).await;
    assert_eq!(alone, Published::Stored { sequence: 1_001 });
}

async fn one_failed_guard_stores_nothing(test: UnderTest) {
    let test = test.with_stock().await;
    test.broker.publish_batch(vec![message(&test, "scarce", 0)]).await;
    for (first, last) in [(0, 7), (7, 0)] {
        let batch = vec![
            message(&test, "a", first),
            message(&test, "scarce", 1),
            message(&test, "b", last),
        ];
        assert_eq!(test.broker.publish_batch(batch).await, Published::Conflict);
    }
    assert_eq!(test.stored().await, 1);
    let batch = vec![message(&test, "a", 0), message(&test, "scarce", 1)];
    assert_eq!(test.broker.publish_batch(batch).await, Published::Stored { sequence: 3 });
    assert_eq!(test.stored().await, 2);
}

async fn the_same_batch_again_is_a_conflict(test: UnderTest) {
    let test = test.with_stock().await;
    let batch = vec![message(&test, "a", 0), message(&test, "b", 0)];
    let first = test.broker.publish_batch(batch.clone()).await;
    assert_eq!(first, Published::Stored { sequence: 2 });
    assert_eq!(test.broker.publish_batch(batch).await, Published::Conflict);
}

async fn one_subject_twice_in_a_batch_is_rejected(test: UnderTest) {
    let test = test.with_stock().await;
    let batch = vec![message(&test, "a", 0), message(&test, "a", 0)];
    let answer = test.broker.publish_batch(batch).await;
    assert!(matches!(answer, Published::Rejected { .. }), "{answer:?}");
    assert_eq!(test.stored().await, 0);
}

async fn a_batch_of_none_or_of_too_many_is_rejected(test: UnderTest) {
    let test = test.with_stock().await;
    for count in [0, 1_001] {
        let batch = (0..count).map(|at| message(&test, at, 0)).collect();
        let answer = test.broker.publish_batch(batch).await;
        assert!(matches!(answer, Published::Rejected { .. }), "{answer:?}");
    }
    assert_eq!(test.stored().await, 0);
}

async fn a_batch_over_two_streams_is_incomplete(test: UnderTest) {
    let other = UnderTest::at(test.urls.clone()).await.with_stock().await;
    let test = test.with_stock().await;
    let batch = vec![message(&other, "a", 0), message(&test, "b", 0)];
    let answer = test.broker.publish_batch(batch).await;
    assert_eq!(answer, Published::Unknown(Unknown::Busy));
    assert_eq!((test.stored().await, other.stored().await), (0, 0));
}

async fn an_id_twice_in_a_batch_is_refused(test: UnderTest) {
    let test = test.with_stock().await;
    let subject = message(&test, "a", 0).subject;
    let id = [("Nats-Msg-Id", "m"), ("Nats-Batch-Id", "b"), ("Nats-Batch-Sequence", "1")];
    let mut headers = async_nats::HeaderMap::new();
    id.iter().for_each(|(name, value)| headers.insert(*name, *value));
    let sent = test.raw.client.publish_with_headers(format!("{subject}1"), headers, "".into());
    sent.await.unwrap();
    let commit = [
        ("Nats-Msg-Id", "m"),
        ("Nats-Batch-Id", "b"),
        ("Nats-Batch-Sequence", "2"),
        ("Nats-Batch-Commit", "1"),
    ];
    let answer = test.raw.publish(&subject, &commit, "").await;
    assert_eq!(answer.map_err(|(code, _)| code), Err(10201));
    assert_eq!(test.stored().await, 0);
}

async fn batches_of_one_process_may_interleave(test: UnderTest) {
    let test = test.with_stock().await;
    let batches = (0..40).map(|batch| {
        let messages =
            (0..20).map(|at| message(&test, format!("{batch}-{at}"), 0)).collect::<Vec<_>>();
        test.broker.publish_batch(messages)
    });
    for answer in futures::future::join_all(batches).await {
        // Each batch is in the stream without a gap.
        assert!(
            matches!(answer, Published::Stored { sequence } if sequence % 20 == 0),
            "{answer:?}"
        );
    }
    assert_eq!(test.stored().await, 800);
}

async fn a_process_with_too_many_batches_is_told_to_wait(test: UnderTest) {
    let test = test.with_stock().await;
    for open in 0..50 {
        let subject = message(&test, format!("open{open}"), 0).subject;
        test.raw.open_batch(&subject, &format!("{}-{open}", test.flow.stream), 1).await;
    }
    // Acknowledged after the fifty, so all of them are open.
    let after = message(&test, "after", 0).subject;
    assert_eq!(test.raw.publish(&after, &[], "").await, Ok(1));
    let batch = vec![message(&test, "a", 0), message(&test, "b", 0)];
    let answer = test.broker.publish_batch(batch).await;
    assert_eq!(answer, Published::Unknown(Unknown::Busy));
}
