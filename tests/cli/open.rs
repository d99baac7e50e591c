//! `open`: what is open, from the log alone; no query worker runs in these tests.

use quadrille::SagaId;
use serde_json::{Value, json};
use tests::server::Server;
use tests::stack::{Fate, Launch, Stack, order};

use super::quadrille;

/// Id, state and the worker whose turn it is, in the order of the list.
async fn listed(stack: &Stack, line: &str) -> Vec<[String; 3]> {
    let said = quadrille(&stack.server, line).await;
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    let rows = said.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    rows.map(|row| [&row["id"], &row["state"], &row["waits_for"]].map(text)).collect()
}

#[tokio::test]
async fn what_is_open_is_listed_by_its_wait_without_any_query_worker() {
    let mut stack = Stack::running(1).await;
    stack.worker("ship-order").kill();
    stack.worker("ship-order").ended().await;
    stack.workers.retain(|worker| worker.name() != "ship-order");
    let id = |text: &str| SagaId::parse(text).unwrap();
    let is = |row: [&str; 3]| row.map(str::to_owned);

    // It is set aside, and its place in the list is that of the order that it should have been.
    stack.raw.publish("orders.placed.bad", &[], "{}").await.unwrap();
    let odd = stack.raw.publish("orders.placed.#1001", &[], "{}").await.unwrap();
    for name in ["A1", "A2"] {
        stack.place(&id(name), &order(Fate::Completes, 0)).await.unwrap();
    }
    let declined = stack.place_all("declined", &[Fate::Declined]).await;
    stack.closed(&declined).await;
    let bad = is(["bad", "parked", "reserve-inventory"]);
    let waits = |name| is([name, "open", "ship-order"]);
    tests::eventually::eventually("both wait for ship-order", async || {
        (listed(&stack, "open --json").await == [bad.clone(), waits("A1"), waits("A2")])
            .then_some(())
    })
    .await;
    assert_eq!(listed(&stack, "open --json --limit 1").await, std::slice::from_ref(&bad));
    // What has no id began no order; where it is found, the other commands say.
    let parked = quadrille(&stack.server, "parked ls").await;
    assert!(parked.stdout.contains("orders.placed.#1001"), "{}", parked.stdout);
    assert!(parked.stderr.contains("parked show SUBJECT` one without an id"), "{}", parked.stderr);
    let shown = quadrille(&stack.server, "parked show orders.placed.#1001 --json").await.json();
    assert_eq!((&shown["sequence"], &shown["payload"]), (&json!(odd), &json!({})), "{shown}");
    let discard = quadrille(&stack.server, "parked discard --all --reason x").await;
    assert!(discard.stdout.contains("orders.placed.#1001: would be closed"), "{}", discard.stdout);
    let reserving = stack.worker("reserve-inventory").said();
    let of_it = format!("\"subject\":\"orders.placed.#1001\",\"sequence\":{odd}");
    assert!(reserving.contains(&of_it), "{reserving}");
    for line in ["trace #1001", "why #1001"] {
        let said = quadrille(&stack.server, line).await;
        assert_eq!(said.code, Some(2));
        assert!(said.stderr.contains("quadrille parked ls` lists it"), "{}", said.stderr);
    }
    let said = quadrille(&stack.server, "open --limit 2").await;
    assert!(said.stdout.contains("A1   open    ship-order"), "{}", said.stdout);
    assert!(said.stderr.contains("3 open, 2 of them shown"), "{}", said.stderr);

    stack.start(Launch::of("ship-order")).await;
    stack.closed(&[id("A1"), id("A2")]).await;
    for durable in ["complete-order", "complete-order-closing"] {
        stack.settled(durable).await;
    }
    let mut heard = stack.raw.hear("$JS.API.DIRECT.GET.ORDERS").await;
    let first = quadrille(&stack.server, "open --json").await.json();
    // No ending that its worker has settled, which most orders have.
    let read = format!("{:?}", heard.more().await);
    assert!(read.contains("orders.placed.bad") && !read.contains("orders.closed.A1"), "{read}");
    assert!(!read.contains(&format!("orders.closed.{}", declined[0])), "{read}");
    assert_eq!((&first["id"], &first["reason"]), (&json!("bad"), &json!("invalid-field")));
    assert!(first["waits_ms"].as_f64().unwrap() <= first["age_ms"].as_f64().unwrap());
}

/// Nothing of it ends by itself, so it must not be missed.
#[tokio::test]
async fn an_order_whose_last_slot_is_taken_is_open() {
    let mut stack = Stack::running(1).await;
    let raw = stack.raw.clone();
    let place = async |name: &str, fate: Fate| {
        let subject = format!("orders.placed.{name}");
        let order = serde_json::to_string(&order(fate, 0)).unwrap();
        raw.publish(&subject, &[], &order).await.unwrap();
    };
    for name in ["taken", "declined", "on-its-way"] {
        stack.raw.publish(&format!("orders.closed.{name}"), &[], "junk").await.unwrap();
    }
    place("taken", Fate::Completes).await;
    place("declined", Fate::Declined).await;
    let ended = stack.place_all("ended", &[Fate::Completes, Fate::Declined]).await;
    stack.closed(&ended).await;
    let seen = |rows: &[[String; 3]]| -> Vec<String> {
        let mut seen: Vec<_> = rows.iter().map(|[id, state, _]| format!("{id} {state}")).collect();
        seen.sort();
        seen
    };
    tests::eventually::eventually("both stand still", async || {
        let rows = listed(&stack, "open --json").await;
        (seen(&rows) == ["declined cancelling", "taken parked"]).then_some(())
    })
    .await;
    // Before anybody looks at the slot, too: before it is shipped, and after that.
    for name in ["ship-order", "complete-order"] {
        stack.worker(name).kill();
        stack.worker(name).ended().await;
        stack.workers.retain(|worker| worker.name() != name);
    }
    place("on-its-way", Fate::Completes).await;
    let all = ["declined cancelling", "on-its-way open", "taken parked"];
    assert_eq!(seen(&listed(&stack, "open --json").await), all);
    stack.start(Launch::of("ship-order")).await;
    tests::eventually::eventually("it is shipped", async || {
        let rows = listed(&stack, "open --json").await;
        assert_eq!(seen(&rows), all);
        let is_shipped = ["on-its-way", "open", "complete-order"].map(str::to_owned);
        rows.contains(&is_shipped).then_some(())
    })
    .await;
}

#[tokio::test]
async fn without_a_log_or_a_query_worker_the_way_out_is_named() {
    let server = Server::start().await;
    let none = quadrille(&server, "open").await;
    assert_eq!((none.code, none.stdout.as_str()), (Some(1), ""));
    assert!(none.stderr.contains("there is no log ORDERS at "), "{}", none.stderr);
    quadrille(&server, "topology apply --write").await;
    let empty = quadrille(&server, "open --json").await;
    assert_eq!((empty.code, empty.stdout.as_str()), (Some(0), ""));
    assert!(empty.stderr.contains("nothing is open"), "{}", empty.stderr);
    let unasked = quadrille(&server, "orders ls").await;
    assert_eq!(unasked.code, Some(1));
    assert!(unasked.stderr.contains("quadrille open` lists what is open"), "{}", unasked.stderr);
}
