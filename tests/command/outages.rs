//! A full log, a lost broker, lost answers: nothing accepted is lost, and nothing is called "not
//! stored" that may be.

use std::time::Duration;

use quadrille::topology::{Profile, Topology};
use schemas::order_fulfilment::FLOW;
use serde_json::json;
use tests::eventually::eventually;
use tests::proxy::Proxy;
use tests::stack::{Launch, Stack};

use crate::desk::{good, open, open_one};

#[tokio::test]
async fn a_log_that_is_nine_tenths_full_takes_no_new_order_until_it_has_room() {
    let small = Topology { max_bytes: 100_000, ..Topology::new(&FLOW, Profile::Dev) };
    let mut stack = Stack::bare_with(small).await;
    let desk = open_one(&mut stack).await;
    assert_eq!(desk.post(good(Some("first")).to_string()).await.status, 201);
    for at in 0..90 {
        let filler = format!("orders.filler.f{at}");
        stack.raw.publish(&filler, &[], &"x".repeat(950)).await.unwrap();
    }
    let full = eventually("the log counts as full", async || {
        let answer = desk.post(b"{}").await;
        assert_eq!(answer.status, 400, "mistakes are told all the same");
        let answer = desk.post(good(Some("second")).to_string()).await;
        (answer.status == 503).then_some(answer)
    })
    .await;
    assert!(full.json()["type"].as_str().unwrap().ends_with(":log-full"), "{full:?}");
    assert!(full.header("retry-after").is_some());
    // There is still room for the events of orders that are in it.
    stack.raw.publish("orders.inventory.first", &[], "{}").await.unwrap();
    stack.raw.change_stream(FLOW.stream, json!({ "max_bytes": 200_000 })).await.unwrap();
    eventually("it takes orders again", async || {
        let answer = desk.post(good(Some("second")).to_string()).await;
        (answer.status < 300).then_some(())
    })
    .await;
}

#[tokio::test]
async fn while_the_broker_is_away_nothing_is_stored_and_it_says_so() {
    let mut stack = Stack::bare().await;
    let desk = open_one(&mut stack).await;
    stack.server.process.kill();
    let away = eventually("the loss is noticed", async || {
        let answer = desk.post(good(Some("during")).to_string()).await;
        assert!([503, 504].contains(&answer.status), "{answer:?}");
        (answer.status == 503).then_some(answer)
    })
    .await;
    assert!(away.json()["detail"].as_str().unwrap().contains("nothing was stored"));
    stack.server.restart().await;
    let placed = eventually("it takes orders again", async || {
        let answer = desk.post(good(Some("during")).to_string()).await;
        (answer.status < 300).then_some(answer)
    })
    .await;
    assert_eq!(placed.json()["id"], json!("during"));
    assert_eq!(stack.raw.messages(FLOW.stream).await, 1);
}

#[tokio::test]
async fn a_lost_acknowledgement_is_looked_up_or_called_unknown() {
    let mut stack = Stack::bare().await;
    let proxy = Proxy::to(&stack.server.url()).await;
    let launch = Launch::of("command")
        .env("QUADRILLE_NATS__URL", proxy.url())
        .env("QUADRILLE_COMMAND__PATIENCE", "1s");
    let desk = open(&mut stack, launch).await;
    proxy.lose_answers_after("HPUB orders.placed.", Duration::from_secs(8));
    let unknown = desk.post(good(Some("lost")).to_string()).await;
    assert_eq!(proxy.triggered(), 1);
    assert_eq!(unknown.status, 504, "{unknown:?}");
    let body = unknown.json();
    assert_eq!(body["id"], json!("lost"));
    assert!(body["detail"].as_str().unwrap().contains("send the same order again"), "{body}");
    // It was stored all along, and asking again, as told, finds it.
    assert_eq!(stack.raw.messages(FLOW.stream).await, 1);
    let found = eventually("the broker answers again", async || {
        let answer = desk.post(good(Some("lost")).to_string()).await;
        (answer.status < 300).then_some(answer)
    })
    .await;
    assert_eq!(found.json()["sequence"], json!(1));
    assert_eq!(stack.raw.messages(FLOW.stream).await, 1);
}

#[tokio::test]
async fn an_acknowledgement_that_is_lost_for_a_moment_costs_the_client_nothing() {
    let mut stack = Stack::bare().await;
    let proxy = Proxy::to(&stack.server.url()).await;
    let launch = Launch::of("command").env("QUADRILLE_NATS__URL", proxy.url());
    let desk = open(&mut stack, launch).await;
    proxy.lose_answers_after("HPUB orders.placed.", Duration::from_millis(500));
    let answer = desk.post(good(Some("brief")).to_string()).await;
    assert_eq!(proxy.triggered(), 1);
    assert_eq!(answer.status, 201, "this call stored it: {answer:?}");
    assert_eq!(stack.raw.messages(FLOW.stream).await, 1);
}
