//! Messages that were set aside, as an operator lists them, tries them again and gives them up.

use std::process::Stdio;
use std::time::Duration;

use jiff::SignedDuration;
use quadrille::SagaId;
use quadrille::broker::Broker;
use schemas::order_fulfilment::FLOW;
use serde_json::{Value, json};
use tests::eventually::eventually;
use tests::stack::{Build, Fate, Launch, Stack, order, program};
use tokio::process::Command;

use super::quadrille;

fn saga(id: &str) -> SagaId {
    SagaId::parse(id).unwrap()
}

/// Waits until this many messages wait for a human, and returns their groups.
async fn waiting(stack: &Stack, count: usize) -> Vec<Value> {
    eventually(&format!("{count} messages are parked"), async || {
        let listed = quadrille(&stack.server, "parked ls --json").await.json();
        let groups = listed.as_array()?.clone();
        let parked = |group: &Value| group["parked"].as_u64().unwrap_or_default();
        (usize::try_from(groups.iter().map(parked).sum::<u64>()) == Ok(count)).then_some(groups)
    })
    .await
}

async fn slot(stack: &Stack, slot: &str, id: &SagaId) -> Option<Value> {
    let subject = format!("orders.{slot}.{id}");
    let stored = stack.broker.last(FLOW.stream, &subject).await.unwrap()?;
    serde_json::from_slice(&stored.payload).ok()
}

async fn ending(stack: &Stack, id: &SagaId) -> String {
    let closed = slot(stack, "closed", id).await.unwrap_or_default();
    closed["type"].as_str().unwrap_or_default().to_owned()
}

async fn effects(stack: &Stack, id: &SagaId, effect: &str) -> usize {
    let ledger = stack.sandbox.ledger().await;
    let of = |order: &Option<String>| order.as_deref() == Some(id.as_str());
    ledger.iter().filter(|line| of(&line.order) && line.effect == effect).count()
}

/// `QUADRILLE_TEST_PARKED`, for the long form.
fn many() -> usize {
    #[expect(clippy::disallowed_methods, reason = "a test's own environment")]
    std::env::var("QUADRILLE_TEST_PARKED").ok().and_then(|count| count.parse().ok()).unwrap_or(40)
}

#[tokio::test]
async fn h19_parked_messages_run_once_though_the_command_that_releases_them_is_killed() {
    let stack = Stack::running(1).await;
    let count = many();
    // Of two of them the money is taken before they are parked.
    let lost = json!({ "operations": ["confirm"], "drop_reply_rate": 1 });
    stack.sandbox.set_faults("payment", &lost).await;
    let ids: Vec<_> = (0..count).map(|at| saga(&format!("parked-{at}"))).collect();
    for id in &ids[..2] {
        stack.place(id, &order(Fate::Completes, 0)).await.unwrap();
        eventually("the money is taken", async || {
            (stack.sandbox.balance(id).await == 960).then_some(())
        })
        .await;
    }
    stack.sandbox.set_faults("payment", &json!({ "error_rate": 1, "error_status": 400 })).await;
    for (at, id) in ids.iter().enumerate().skip(2) {
        stack.place(id, &order(Fate::Completes, at)).await.unwrap();
    }
    let groups = waiting(&stack, count).await;
    assert_eq!(groups.len(), 1, "{groups:?}");
    let group = groups[0]["fingerprint"].as_str().unwrap();
    let chosen = format!("parked retry --group {group} --reason mended");

    for verb in ["retry", "discard"] {
        let line = format!("parked {verb} --group 12345678 --reason x");
        let none = quadrille(&stack.server, &line).await;
        let named = format!("those that wait: {group} (charge-customer)");
        assert_eq!((none.code, none.stdout.as_str()), (Some(1), ""), "{}", none.stderr);
        for part in ["there is no group 12345678", &named] {
            assert!(none.stderr.contains(part), "{part}: {}", none.stderr);
        }
    }

    // Nothing is mended yet: the first one is parked again, and the others are left alone.
    let dry = quadrille(&stack.server, &format!("{chosen} --json")).await;
    assert_eq!((dry.code, &dry.json()["left"]), (Some(2), &json!(count)));
    let up_to = dry.json()["up_to"].as_u64().unwrap();
    assert!(dry.stderr.contains(&format!("--up-to {up_to}")), "{}", dry.stderr);
    let unfixed = quadrille(&stack.server, &format!("{chosen} --write")).await;
    assert_eq!(unfixed.code, Some(1), "the set must be fixed");
    let again = quadrille(&stack.server, &format!("{chosen} --up-to {up_to} --write --json")).await;
    assert_eq!((again.code, &again.json()["released"]), (Some(1), &json!(1)), "{}", again.stderr);
    assert!(again.stderr.contains("parked again"), "{}", again.stderr);

    stack.sandbox.clear_faults().await;
    let up_to = quadrille(&stack.server, &format!("{chosen} --json")).await.json()["up_to"].clone();
    let line = format!("{chosen} --up-to {up_to} --rate 200 --write --json");
    for _ in 0..5 {
        let mut command = Command::new(program(Build::Shipped, "quadrille"));
        command.env_clear().args(["--nats", &stack.server.url()]).args(line.split_whitespace());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        tokio::time::sleep(Duration::from_millis(fastrand::u64(30..250))).await;
        child.start_kill().unwrap();
        child.wait().await.unwrap();
    }
    let last = quadrille(&stack.server, &line).await;
    assert_eq!(last.code, Some(0), "{}", last.stderr);
    stack.closed(&ids).await;
    stack.quiet().await;
    stack.check().await;
    for id in &ids {
        assert_eq!(ending(&stack, id).await, "order.completed.v1");
        assert_eq!(effects(&stack, id, "captured").await, 1, "{id}");
    }
    let shown = quadrille(&stack.server, "parked show parked-0 --json").await.json();
    assert_eq!(shown["standing"], "settled");
    assert!(!shown["releases"].as_array().unwrap().is_empty(), "{shown}");
    assert_eq!(shown["releases"][0]["reason"], "mended");
    let settled = quadrille(&stack.server, "parked retry parked-0 --reason more --write").await;
    assert_eq!(settled.code, Some(0));
    assert!(settled.stderr.contains("settled"), "{}", settled.stderr);
    let listed = quadrille(&stack.server, "parked ls --json").await.json();
    assert_eq!(listed, json!([]));
}

#[tokio::test]
async fn a_message_that_is_given_up_ends_its_order_in_the_way_that_is_still_open() {
    let mut stack = Stack::bare().await;
    for worker in ["reserve-inventory", "charge-customer", "complete-order"] {
        stack.start(Launch::of(worker)).await;
    }
    let landing = Launch::of("ship-order").env("QUADRILLE_SHIP_ORDER__LANDS_WITHIN", "1s");
    stack.start(landing).await;
    stack.fill_stock().await;
    let bad = json!({ "error_rate": 1, "error_status": 400 });
    let [before, unsent, sent, junk] = ["before", "unsent", "sent", "junk"].map(saga);

    // Before the pivot: the payment service cannot handle it.
    stack.sandbox.set_faults("payment", &bad).await;
    stack.place(&before, &order(Fate::Completes, 0)).await.unwrap();
    waiting(&stack, 1).await;
    stack.sandbox.clear_faults().await;
    // After the pivot: the label is sold, and nobody hears of it.
    let lost = json!({ "operations": ["label"], "drop_reply_rate": 1 });
    stack.sandbox.set_faults("carrier", &lost).await;
    stack.place(&sent, &order(Fate::Completes, 1)).await.unwrap();
    eventually("the label is sold", async || {
        (effects(&stack, &sent, "label-bought").await == 1).then_some(())
    })
    .await;
    stack.sandbox.set_faults("carrier", &bad).await;
    stack.place(&unsent, &order(Fate::Completes, 2)).await.unwrap();
    // What no worker can read.
    stack.raw.publish("orders.placed.junk", &[], "no order at all").await.unwrap();
    waiting(&stack, 4).await;
    stack.sandbox.clear_faults().await;

    let shown = quadrille(&stack.server, "parked show junk").await;
    assert!(shown.stdout.contains("not-json") && shown.stdout.contains("no order at all"));
    let dry = quadrille(&stack.server, "parked discard before --reason test --json").await;
    assert_eq!((dry.code, &dry.json()["way"]), (Some(2), &json!("cancel")));
    for (id, way) in [("before", "cancel"), ("junk", "cancel"), ("unsent", "refuse")] {
        let discard = format!("parked discard {id} --reason test --write --json");
        let done = quadrille(&stack.server, &discard).await;
        assert_eq!((done.code, &done.json()["way"]), (Some(0), &json!(way)), "{}", done.stderr);
    }
    let discard = "parked discard sent --reason test --write --json";
    assert_eq!(quadrille(&stack.server, discard).await.json()["way"], "refuse");
    let ids = [before.clone(), unsent.clone(), sent.clone(), junk.clone()];
    stack.closed(&ids).await;
    assert_eq!(ending(&stack, &before).await, "order.cancelled.v1");
    assert_eq!(ending(&stack, &junk).await, "order.cancelled.v1");
    assert_eq!(ending(&stack, &unsent).await, "order.cancelled.v1");
    assert_eq!(effects(&stack, &unsent, "refunded").await, 1);
    let refused = slot(&stack, "shipment", &unsent).await.unwrap();
    assert_eq!(refused["data"]["reason"], "discarded");
    let stored_at = async |stream: &str, subject: &str| {
        let stored = stack.broker.last(stream, subject).await.unwrap();
        stored.unwrap_or_else(|| panic!("nothing on {subject}")).stored_at
    };
    let released = stored_at("ORDERS_PARKED", "released.orders.ship-order.unsent").await;
    let waited = stored_at(FLOW.stream, "orders.shipment.unsent").await.duration_since(released);
    // A call that was made before has landed by then; the worker's clock may differ a little.
    assert!(waited >= SignedDuration::from_millis(900), "{waited}");
    // The carrier has sold a label: the order goes on.
    assert_eq!(ending(&stack, &sent).await, "order.completed.v1");
    let late = quadrille(&stack.server, "parked discard sent --reason test --write").await;
    assert_eq!(late.code, Some(1));
    assert!(late.stderr.contains("shipment is decided"), "{}", late.stderr);
    stack.quiet().await;
    stack.check().await;
}

#[tokio::test]
async fn behind_a_decided_shipment_only_retry_is_left() {
    let mut stack = Stack::bare().await;
    for worker in ["reserve-inventory", "charge-customer", "complete-order"] {
        stack.start(Launch::of(worker)).await;
    }
    stack.fill_stock().await;
    let id = saga("newer");
    stack.place(&id, &order(Fate::Completes, 0)).await.unwrap();
    let charged =
        eventually("the order is paid", async || slot(&stack, "payment", &id).await).await;
    // A newer ship-order writes a version that this complete-order does not know.
    let write = async |slot: &str, event: &str, cause: &Value, sequence: u64, data: Value| {
        let source = "ship-order";
        let id = quadrille::ids::event_id("order", &id, slot, event, source).to_string();
        let event = json!({ "specversion": "1.0", "id": id, "type": event, "source": source,
            "subject": "newer", "causationid": cause["id"], "causationseq": sequence,
            "data": data });
        let subject = format!("orders.{slot}.newer");
        stack.raw.publish(&subject, &[], &event.to_string()).await.unwrap();
        event
    };
    let sequence = async |slot: &str| {
        let subject = format!("orders.{slot}.newer");
        stack.broker.last(FLOW.stream, &subject).await.unwrap().unwrap().sequence
    };
    let go = write("pivot", "order.go.v1", &charged, sequence("payment").await, json!({})).await;
    let at = sequence("pivot").await;
    write("shipment", "shipment.dispatched.v2", &go, at, json!({ "parcels": [] })).await;
    let groups = waiting(&stack, 1).await;
    assert_eq!(groups[0]["reason"], "unknown-version");
    let refused = quadrille(&stack.server, "parked discard newer --reason test --write").await;
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("shipment is decided"), "{}", refused.stderr);
    assert!(refused.stderr.contains("parked retry newer"), "{}", refused.stderr);
    let again = quadrille(&stack.server, "parked retry newer --reason test --write").await;
    assert_eq!(again.code, Some(1), "no version of this build can read it");
    assert!(again.stderr.contains("unknown-version"), "{}", again.stderr);
}

/// No wish is granted for it, and what is given up is not listed for ever.
#[tokio::test]
async fn what_has_no_opening_is_given_up_for_good_and_in_true_words() {
    let stack = Stack::running(1).await;
    let forged = json!({ "specversion": "1.0", "id": "x", "type": "payment.charged.v1",
        "source": "charge-customer", "subject": "N8", "causationid": "x", "causationseq": 1,
        "data": {} });
    for (subject, body) in [
        ("orders.payment.N9", "{}".to_owned()),
        ("orders.payment.N8", forged.to_string()),
        ("orders.placed.#1001", "{}".to_owned()),
        ("orders.placed.N:7", "{}".to_owned()),
    ] {
        stack.raw.publish(subject, &[], &body).await.unwrap();
    }
    waiting(&stack, 4).await;
    // Its opening alone was taken out.
    stack.raw.publish("orders.pivot.N6", &[], "junk").await.unwrap();
    let entry = json!({
        "parked_at": "2026-01-02T12:00:00Z", "durable": "reserve-inventory", "reason": "not-json",
        "pointer": "", "message": "", "deliveries": 1, "subject": "orders.placed.N6",
        "sequence": 1, "stored_at": "2026-01-02T12:00:00Z", "headers": [], "payload_base64": "",
    });
    let parked = "parked.orders.reserve-inventory.N6";
    stack.raw.publish(parked, &[], &entry.to_string()).await.unwrap();
    let retry = quadrille(&stack.server, "parked retry N6 --reason x --write").await.stderr;
    assert!(retry.contains("parked discard N6` closes it"), "{retry}");
    assert!(!retry.contains("settles with the rest"), "{retry}");
    let none = "there is no opening of it in the log";
    let nameless = "its subject has no valid id, so no order was ever behind it";
    for (name, says) in [
        ("N9", none),
        ("N8", none),
        ("N6", none),
        ("orders.placed.#1001", nameless),
        ("orders.placed.N:7", nameless),
    ] {
        let discard = format!("parked discard {name} --reason junk --write");
        let said = quadrille(&stack.server, &discard).await;
        assert_eq!((said.code, &*said.stderr), (Some(0), ""), "{name}: {}", said.stdout);
        assert!(said.stdout.starts_with(&format!("{name}: closed; ")), "{name}: {}", said.stdout);
        assert!(said.stdout.contains(says), "{name}: {}", said.stdout);
        for wrong in ["no longer", "any more", "its saga is"] {
            assert!(!said.stdout.contains(wrong), "{name}: {}", said.stdout);
        }
        let again = quadrille(&stack.server, &discard).await;
        assert!(again.stderr.contains("discarded already"), "{name}: {}", again.stderr);
        let shown = quadrille(&stack.server, &format!("parked show {name} --json")).await.json();
        assert_eq!(shown["standing"], "discarded", "{name}");
    }
    assert_eq!(quadrille(&stack.server, "parked ls --json").await.json(), json!([]));
    for id in ["N8", "N9"] {
        assert_eq!(slot(&stack, "cancel", &saga(id)).await, None, "no wish could be granted");
    }
    let audit = quadrille(&stack.server, "audit --json").await.json();
    let [orders, open, unopened] = ["orders", "open", "unopened"].map(|count| &audit[count]);
    assert_eq!([orders, open, unopened], [&json!(0), &json!(0), &json!(3)], "{audit}");
    let audit = quadrille(&stack.server, "audit").await.stdout;
    assert!(audit.contains("3 ids have events, and no opening in the log"), "{audit}");
}

#[tokio::test]
async fn an_effect_that_no_slot_records_waits_for_a_human_though_its_order_is_closed() {
    let stack = Stack::running(1).await;
    let id = saga("twice");
    stack.place(&id, &order(Fate::Completes, 0)).await.unwrap();
    stack.closed(std::slice::from_ref(&id)).await;
    let subject = "orders.inventory.twice";
    let message = stack.broker.last(FLOW.stream, subject).await.unwrap().unwrap();
    let entry = json!({
        "parked_at": "2026-01-02T12:00:00Z", "durable": "charge-customer",
        "reason": "orphan-effect", "pointer": "", "message": "charged twice", "deliveries": 1,
        "subject": subject, "sequence": message.sequence, "stored_at": "2026-01-02T12:00:00Z",
        "headers": [], "payload_base64": "",
    });
    let parked = "parked.orders.charge-customer.twice";
    stack.raw.publish(parked, &[], &entry.to_string()).await.unwrap();
    assert_eq!(waiting(&stack, 1).await[0]["reason"], "orphan-effect");
    let seen = quadrille(&stack.server, "parked discard twice --reason mended --write").await;
    assert_eq!(seen.code, Some(0), "{}", seen.stderr);
    assert!(seen.stdout.contains("what happened outside is yours to mend"), "{}", seen.stdout);
    waiting(&stack, 0).await;
    assert_eq!(ending(&stack, &id).await, "order.completed.v1");
}

#[tokio::test]
async fn what_is_wrong_in_its_own_bytes_is_to_be_given_up_whichever_command_says_it() {
    let stack = Stack::running(1).await;
    let mut mixed = serde_json::to_value(order(Fate::Completes, 0)).unwrap();
    let mut line = mixed["lines"][0].clone();
    line["unit_price"]["currency"] = json!("USD");
    mixed["lines"].as_array_mut().unwrap().push(line);
    stack.raw.publish("orders.placed.mixed", &[], &mixed.to_string()).await.unwrap();
    assert_eq!(waiting(&stack, 1).await[0]["reason"], "mixed-currencies");
    for line in
        ["why mixed", "parked retry mixed --reason x", "parked retry mixed --reason x --write"]
    {
        let said = quadrille(&stack.server, line).await;
        let text = format!("{}{}", said.stdout, said.stderr);
        assert!(
            text.contains("parked discard mixed --reason unreadable --write`"),
            "{line}: {text}"
        );
        for wrong in ["mend the cause", "without --write"] {
            assert!(!text.contains(wrong), "{line}: {text}");
        }
    }
    let raw = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0x4d, 0x8e, 0xbd, 0x0a];
    stack.raw.client.publish("orders.placed.packed", raw.into()).await.unwrap();
    waiting(&stack, 2).await;
    let shown = quadrille(&stack.server, "parked show packed").await.stdout;
    assert!(shown.contains("gzip and not JSON: unpack it first"), "{shown}");
    assert!(shown.contains("14 bytes that are no text: 1f 8b 08"), "{shown}");
    assert!(!shown.contains('\u{fffd}'), "{shown}");
}
