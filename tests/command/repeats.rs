//! One id, many calls: the slot itself answers.

use std::collections::BTreeSet;

use futures::future::join_all;
use quadrille::broker::Broker as _;
use schemas::order_fulfilment::FLOW;
use serde_json::{Value, json};
use tests::stack::{Launch, Stack};

use crate::desk::{Answer, Desk, JSON, good, open, open_one};

/// The order that `turn` sends.
fn one_of_ten(id: &str, turn: usize) -> Value {
    let mut order = good(Some(id));
    order["lines"][0]["quantity"] = json!(turn % 10 + 1);
    order
}

/// A hundred at once, of ten different bodies, half of them each way.
async fn a_hundred(desk: &Desk, body: impl Fn(usize) -> Value) -> Vec<Answer> {
    let calls = (0..100).map(|turn| {
        let body = body(turn).to_string();
        async move {
            if turn / 10 % 2 == 0 {
                desk.post(body).await
            } else {
                desk.ask("orders.place", &[], body).await
            }
        }
    });
    join_all(calls).await
}

#[tokio::test]
async fn h07_of_different_orders_under_one_id_the_stored_one_alone_is_accepted() {
    let mut stack = Stack::bare().await;
    let desk = open_one(&mut stack).await;
    for round in 0..5 {
        let id = format!("same-{round}");
        let answers = a_hundred(&desk, |turn| one_of_ten(&id, turn)).await;
        let subject = format!("orders.placed.{id}");
        let stored = stack.broker.last(FLOW.stream, &subject).await.unwrap().unwrap();
        let event: Value = serde_json::from_slice(&stored.payload).unwrap();
        let (mut accepted, mut created) = (0, 0);
        for (turn, answer) in answers.iter().enumerate() {
            let body = answer.json();
            assert_eq!(body["id"], json!(id), "{answer:?}");
            assert_eq!(body["sequence"], json!(stored.sequence), "{answer:?}");
            let is_stored = one_of_ten(&id, turn)["lines"] == event["data"]["lines"];
            assert_eq!(answer.status != 409, is_stored, "{answer:?}");
            accepted += usize::from(answer.status != 409);
            created += usize::from(answer.status == 201);
            assert!([200, 201, 409].contains(&answer.status), "{answer:?}");
        }
        assert_eq!(accepted, 10);
        assert!(created <= 1, "only one call stored it");
    }
    assert_eq!(stack.raw.messages(FLOW.stream).await, 5);
}

#[tokio::test]
async fn the_same_order_a_hundred_times_at_once_is_one_order_with_one_answer() {
    let mut stack = Stack::bare().await;
    let desk = open_one(&mut stack).await;
    let answers = a_hundred(&desk, |_| good(Some("once"))).await;
    let bodies: BTreeSet<_> = answers.iter().map(|answer| answer.body.clone()).collect();
    assert_eq!(bodies.len(), 1, "{bodies:?}");
    assert!(answers.iter().all(|answer| answer.status < 300), "{answers:?}");
    assert_eq!(stack.raw.messages(FLOW.stream).await, 1);
}

#[tokio::test]
async fn an_order_from_another_client_is_recognised_in_whatever_form_it_was_stored() {
    let mut stack = Stack::bare().await;
    let desk = open_one(&mut stack).await;
    let bare = good(None).to_string();
    let sequence = stack.raw.publish("orders.placed.A1", &[], &bare).await.unwrap();
    let answer = desk.post(good(Some("A1")).to_string()).await;
    assert_eq!((answer.status, &answer.json()["sequence"]), (200, &json!(sequence)));
}

#[tokio::test]
async fn a_key_makes_a_repeat_safe_and_belongs_to_its_caller() {
    let mut stack = Stack::bare().await;
    let launch = Launch::of("command").env("QUADRILLE_COMMAND__CALLER_HEADER", "X-Caller");
    let desk = open(&mut stack, launch).await;
    let (first, second) = (good(None).to_string(), {
        let mut other = good(None);
        other["lines"][0]["quantity"] = json!(7);
        other.to_string()
    });
    let post = async |caller: Option<&str>, key: Option<&str>, body: &str| {
        let mut headers = vec![JSON];
        headers.extend(key.map(|key| ("Idempotency-Key", key)));
        headers.extend(caller.map(|caller| ("X-Caller", caller)));
        desk.http("POST", "/orders", &headers, body.as_bytes()).await
    };
    let one = post(None, Some("k1"), &first).await;
    let again = post(None, Some("k1"), &first).await;
    assert_eq!((one.status, again.status), (201, 200));
    assert_eq!(one.body, again.body);
    let other = post(None, Some("k1"), &second).await;
    assert_eq!(other.status, 409, "{other:?}");
    assert_eq!(other.json()["sequence"], one.json()["sequence"]);
    assert_eq!(other.json()["id"], one.json()["id"]);
    // The same key means something else to another caller.
    let theirs = post(Some("alice"), Some("k1"), &second).await;
    assert_eq!(theirs.status, 201);
    assert_ne!(theirs.json()["id"], one.json()["id"]);
    // Over NATS nobody vouches for a caller.
    let headers = [("Idempotency-Key", "k1"), ("X-Caller", "alice")];
    let over_nats = desk.ask("orders.place", &headers, first.clone()).await;
    assert_eq!(over_nats.json(), one.json());
    // Without a key each call is a new order.
    let fresh = [post(None, None, &first).await, post(None, None, &first).await];
    assert!(fresh.iter().all(|answer| answer.status == 201));
    assert_ne!(fresh[0].json()["id"], fresh[1].json()["id"]);
    // An id that is given wins.
    let named = good(Some("named")).to_string();
    assert_eq!(post(None, Some("k1"), &named).await.json()["id"], json!("named"));
    assert_eq!(stack.raw.messages(FLOW.stream).await, 5);
}
