//! Read your own writes: an answer with a token is of that place or of a later one.

use std::time::Duration;

use schemas::order_fulfilment::FLOW;
use serde_json::json;
use tests::stack::{Fate, Stack, order};
use tokio::time::Instant;

use crate::asked::Query;

/// Reads after writes: 1,000, or as many as the environment says.
#[expect(clippy::disallowed_methods, reason = "tests have no config; this is its one reader")]
fn reads() -> usize {
    std::env::var("QUADRILLE_TEST_READS").map_or(1_000, |text| text.parse().expect("a number"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h48_a_read_with_the_token_of_a_write_is_never_stale() {
    let stack = Stack::bare().await;
    let query = Query::start(&stack, "query").await;
    let (incarnation, _) = query.place().await.unwrap();
    for turn in 0..reads() {
        let mut placed = serde_json::to_value(order(Fate::Completes, turn)).unwrap();
        let (id, customer) = (format!("read-{turn}"), format!("cus-{turn}"));
        placed["customer"] = json!(customer);
        let subject = format!("{}.placed.{id}", FLOW.subjects);
        let sequence = stack.raw.publish(&subject, &[], &placed.to_string()).await.unwrap();
        // A token, or a bare sequence as the stock client prints it.
        let token = match turn % 2 {
            0 => format!("{incarnation}-{sequence}"),
            _ => sequence.to_string(),
        };
        let found = query.ok(&format!("/orders?customer={customer}&min_seq={token}")).await;
        assert_eq!(found["orders"][0]["id"], json!(id), "{found}");
        assert!(found["as_of"]["sequence"].as_u64().unwrap() >= sequence, "{found}");
        let one = query.ok(&format!("/orders/{id}?min_seq={token}")).await;
        assert_eq!(one["events"][0]["sequence"], json!(sequence), "{one}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_projection_that_is_stopped_answers_with_its_age() {
    let stack = Stack::bare().await;
    let query = Query::start(&stack, "query").await;
    let sequence = stack.raw.publish("orders.placed.A1", &[], "{}").await.unwrap();
    query.reaches(sequence).await;
    stack.server.process.pause();
    let began = Instant::now();
    let behind = query.get("/counts?min_seq=99&wait=100ms").await;
    assert_eq!((behind.status, behind.kind.as_str()), (503, "application/problem+json"));
    assert_eq!(behind.json["as_of"]["sequence"], json!(sequence), "{behind:?}");
    assert!(behind.json["as_of"]["read_ms_ago"].as_u64().is_some(), "{behind:?}");
    assert!(began.elapsed() < Duration::from_secs(30), "it does not hang");
    // Nor does it wait for the broker to say whether a token is of an earlier log.
    tokio::select! {
        biased;
        old = query.get("/counts?min_seq=1f-1&wait=100ms") => {
            assert_eq!(old.status, 503, "{old:?}");
        }
        _ = query.get("/counts?min_seq=99&wait=4s") => panic!("the shorter wait ends first"),
    }
    // What it knows it still says.
    let known = query.ok("/counts").await;
    assert_eq!(known["as_of"]["sequence"], json!(sequence), "{known}");
    stack.server.process.resume();
    let next = stack.raw.publish("orders.placed.A2", &[], "{}").await.unwrap();
    query.reaches(next).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_token_is_refused() {
    let stack = Stack::bare().await;
    let query = Query::start(&stack, "query").await;
    for token in ["x", "1-2-3", "-1", "18446744073709551616", "0f-1"] {
        let refused = query.get(&format!("/counts?min_seq={token}")).await;
        assert_eq!(refused.status, 400, "{token}: {refused:?}");
        assert_eq!(refused.json["errors"][0]["pointer"], "/min_seq", "{refused:?}");
    }
    let old = query.get("/counts?min_seq=1f-1").await;
    assert_eq!(old.status, 410, "{old:?}");
}
