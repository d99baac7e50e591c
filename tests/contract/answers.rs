//! What the server answers to a publish, and what that means.

use std::time::Duration;

use async_nats::RequestErrorKind;
use bytes::Bytes;
use futures::StreamExt as _;
use quadrille::broker::{BatchMessage, Broker as _, Published, Unknown};
use serde_json::json;
use tests::eventually::{eventually, within_patience};
use tests::server::Server;
use tokio::time::timeout;

use crate::under_test::{UnderTest, answered};

contract!(
    the_same_event_again_is_a_conflict,
    h04_a_proposal_in_flight_decides_nothing,
    h04_a_full_log_is_full_or_taken_as_its_slot_says,
    an_event_over_the_limit_is_too_large,
    a_subject_without_a_stream_has_no_answer,
    wrong_configuration_and_forged_headers_are_refused,
    a_stored_message_with_an_id_is_a_duplicate_on_a_cluster_only,
);

async fn the_same_event_again_is_a_conflict(test: UnderTest) {
    let test = test.with_stream().await;
    assert_eq!(test.write("payment", "s1").await, Published::Stored { sequence: 1 });
    assert_eq!(test.write("payment", "s1").await, Published::Conflict);
    assert_eq!(test.write("payment", "s2").await, Published::Stored { sequence: 2 });
}

/// On a cluster the server answers most losers of a race with "wrong last sequence" before anything
/// is decided.
async fn h04_a_proposal_in_flight_decides_nothing(test: UnderTest) {
    let test = test.with_stream().await;
    let mut in_flight = 0;
    for round in 0..100 {
        let slot = test.slot("payment", &format!("s{round}"));
        let racers = (0..20).map(|_| test.broker.publish_once(&slot, Bytes::new()));
        let answers = futures::future::join_all(racers).await;
        let count = |wanted: &dyn Fn(&Published) -> bool| {
            answers.iter().filter(|answer| wanted(answer)).count()
        };
        let busy = count(&|answer| *answer == Published::Unknown(Unknown::Busy));
        assert_eq!(count(&|answer| matches!(answer, Published::Stored { .. })), 1, "{answers:?}");
        assert_eq!(count(&|answer| *answer == Published::Conflict), 19 - busy, "{answers:?}");
        // Once it is decided, every writer gets that answer.
        assert_eq!(test.write("payment", &format!("s{round}")).await, Published::Conflict);
        in_flight += busy;
        if in_flight > 0 && round > 10 {
            break;
        }
    }
    assert_eq!(in_flight > 0, test.clustered);
}

async fn h04_a_full_log_is_full_or_taken_as_its_slot_says(test: UnderTest) {
    let test = test.with_stream().await;
    let small = json!({ "max_bytes": 20_000, "allow_atomic": true });
    test.raw.change_stream(test.flow.stream, small).await.unwrap();
    let event = Bytes::from(vec![b' '; 3_000]);
    let mut written = 0;
    let publish = async |id: &str| {
        let slot = test.slot("payment", id);
        answered(async || test.broker.publish_once(&slot, event.clone()).await).await
    };
    while let Published::Stored { .. } = publish(&format!("s{written}")).await {
        written += 1;
    }
    assert!((3..7).contains(&written), "{written}");
    let (taken, empty) = (publish("s0").await, publish("new").await);
    assert_eq!((taken, empty), (Published::Conflict, Published::Unknown(Unknown::Full)));

    let message = |id: &str, payload: Bytes| BatchMessage {
        subject: test.slot("payment", id).subject().to_owned(),
        expected_last: 0,
        payload,
    };
    let batch = vec![message("a", Bytes::new()), message("b", event.clone())];
    let whole = answered(async || test.broker.publish_batch(batch.clone()).await).await;
    assert_eq!(whole, Published::Unknown(Unknown::Full));
    assert_eq!(test.stored().await, written);

    let larger = json!({ "max_bytes": 40_000 });
    test.raw.change_stream(test.flow.stream, larger).await.unwrap();
    let whole = answered(async || test.broker.publish_batch(batch.clone()).await).await;
    assert_eq!(whole, Published::Stored { sequence: written + 2 });
}

async fn an_event_over_the_limit_is_too_large(test: UnderTest) {
    let test = test.with_stream().await;
    let slot = test.slot("payment", "s1");
    let bytes = |count| Bytes::from(vec![b' '; count]);
    // Never sent; sent and refused, because headers count too; sent without a guard and refused.
    for payload in [65 * 1024, 64 * 1024] {
        let over = answered(async || test.broker.publish_once(&slot, bytes(payload)).await).await;
        assert_eq!(over, Published::TooLarge);
    }
    let subject = slot.subject();
    let over = answered(async || test.broker.publish(subject, bytes(200_000)).await).await;
    assert_eq!(over, Published::TooLarge);
    let long = "x".repeat(66_000);
    let headers = test.raw.publish(slot.subject(), &[("X-Long", &long)], "").await;
    assert_eq!(headers.unwrap_err().0, 10054);
    let fits = answered(async || test.broker.publish_once(&slot, bytes(63 * 1024)).await).await;
    assert_eq!(fits, Published::Stored { sequence: 1 });
}

async fn a_subject_without_a_stream_has_no_answer(test: UnderTest) {
    let answer = test.broker.publish_once(&test.slot("payment", "s1"), Bytes::new()).await;
    assert!(matches!(answer, Published::Unknown(Unknown::NoAnswer(_))), "{answer:?}");
}

/// The client would keep each of them until its answer comes. Whoever hears a request and is silent
/// is here another client; a full disk is so, too. On one server, because in a cluster the others
/// learn a moment later who listens.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_are_never_answered_leave_nothing_behind() {
    let server = Server::start().await;
    let test = UnderTest::at(vec![server.url()]).await;
    let mut heard = unanswered(&test).await;
    let silent = async |id: &str| {
        let answer = test.broker.publish_once(&test.slot("payment", id), Bytes::new()).await;
        assert!(matches!(answer, Published::Unknown(Unknown::NoAnswer(_))), "{answer:?}");
    };
    silent("s1").await;
    let more: Vec<_> = (0..50).map(|at| format!("more{at}")).collect();
    futures::future::join_all(more.iter().map(|id| silent(id))).await;
    let mut inboxes = 0;
    while inboxes < more.len() {
        let request = within_patience("a request", heard.next()).await.unwrap();
        if !request.subject.contains(".more") {
            continue;
        }
        inboxes += 1;
        nobody_waits(&test, request).await;
    }
}

/// As a caller with less patience than a request has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_their_callers_give_up_leave_nothing_behind() {
    let server = Server::start().await;
    let test = UnderTest::at(vec![server.url()]).await;
    let mut heard = unanswered(&test).await;
    for at in 0..10 {
        let slot = test.slot("payment", &format!("s{at}"));
        let request = tokio::select! {
            answer = test.broker.publish_once(&slot, Bytes::new()) => panic!("{answer:?}"),
            request = heard.next() => request.unwrap(),
        };
        // The first one says that there may be more.
        if at > 0 {
            nobody_waits(&test, request).await;
        }
    }
}

/// Hears each request to write a payment, and answers none.
async fn unanswered(test: &UnderTest) -> async_nats::Subscriber {
    let filter = format!("{}.payment.*", test.flow.subjects);
    let mut heard = test.raw.client.subscribe(filter).await.unwrap();
    // Without a listener the answer is at once that there is none.
    test.raw
        .client
        .publish(format!("{}.payment.ready", test.flow.subjects), "".into())
        .await
        .unwrap();
    within_patience("the server knows who listens", heard.next()).await.unwrap();
    heard
}

async fn nobody_waits(test: &UnderTest, request: async_nats::Message) {
    let inbox = request.reply.expect("whoever asks names its inbox");
    eventually("nobody waits for an answer", async || {
        // One that the server hands to an inbox which is just given up has no answer.
        let late = test.raw.client.request(inbox.clone(), "late".into());
        let Ok(Err(error)) = timeout(Duration::from_secs(1), late).await else { return None };
        (error.kind() == RequestErrorKind::NoResponders).then_some(())
    })
    .await;
}

async fn wrong_configuration_and_forged_headers_are_refused(test: UnderTest) {
    let test = test.with_stream().await;
    let slot = test.slot("payment", "s1");
    let target = test.slot("payment", "s2");
    let batch = [
        ("Nats-Batch-Id", "b"),
        ("Nats-Batch-Sequence", "1"),
        ("Nats-Batch-Commit", "1"),
        ("Nats-Expected-Last-Msg-Id", "m"),
    ];
    let schedule =
        [("Nats-Schedule", "@at 2100-01-01T00:00:00Z"), ("Nats-Schedule-Target", target.subject())];
    let forged: [(&[(&str, &str)], u64); 5] = [
        (&[("Nats-Rollup", "all")], 10111),
        (&[("Nats-TTL", "10s")], 10166),
        (&[("Nats-Expected-Stream", "OTHER")], 10060),
        (&schedule, 10188),
        (&batch[..3], 10174),
    ];
    for (headers, code) in forged {
        let answer = test.raw.publish(slot.subject(), headers, "").await;
        assert_eq!(answer.map_err(|(code, _)| code), Err(code), "{headers:?}");
    }
    let one = BatchMessage {
        subject: slot.subject().to_owned(),
        expected_last: 0,
        payload: Bytes::new(),
    };
    let answer = answered(async || test.broker.publish_batch(vec![one.clone()]).await).await;
    assert!(matches!(answer, Published::Rejected { code: 10174, .. }), "{answer:?}");

    let enabled = json!({ "allow_atomic": true, "allow_msg_ttl": true });
    test.raw.change_stream(test.flow.stream, enabled).await.unwrap();
    for (headers, code) in [(&batch[..], 10177), (&[("Nats-TTL", "500ms")], 10165)] {
        let answer = test.raw.publish(slot.subject(), headers, "").await;
        assert_eq!(answer.map_err(|(code, _)| code), Err(code), "{headers:?}");
    }
    assert_eq!(test.stored().await, 0);
}

async fn a_stored_message_with_an_id_is_a_duplicate_on_a_cluster_only(test: UnderTest) {
    let test = test.with_stream().await;
    let slot = test.slot("payment", "s1");
    let headers = [("Nats-Expected-Last-Subject-Sequence", "0"), ("Nats-Msg-Id", "m1")];
    assert_eq!(test.raw.publish(slot.subject(), &headers, "").await, Ok(1));
    let again = test.raw.publish(slot.subject(), &headers, "").await;
    let expected = if test.clustered { Ok(1) } else { Err(10071) };
    assert_eq!(again.map_err(|(code, _)| code), expected);
}
