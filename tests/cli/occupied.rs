//! Slots that a stock client has written: what every command says of such an order, before it is
//! placed and afterwards, and the one way out. The way itself is a recipe for the stock client, and
//! walked in `recipes`.

use quadrille::SagaId;
use quadrille::broker::Broker;
use serde_json::json;
use tests::eventually::eventually;
use tests::stack::{Fate, Launch, Stack, order};

use super::{Said, quadrille};

impl Said {
    fn all(&self) -> String {
        let Self { code, stdout, stderr } = self;
        format!("{code:?}: {stdout}{stderr}")
    }
}

#[tokio::test]
async fn every_command_says_that_an_id_is_spent_whose_slot_is_taken_before_it_is_placed() {
    let stack = Stack::running(1).await;
    stack.raw.publish("orders.payment.S1", &[], "junk").await.unwrap();
    eventually("the next step has set it aside", async || {
        let listed = quadrille(&stack.server, "parked ls --json").await.json();
        (!listed.as_array()?.is_empty()).then_some(())
    })
    .await;
    let spent = "this id is spent: its slot payment is taken by message 1, which no worker wrote; \
                 take another id";
    let show = "parked show S1";
    let retry = "parked retry S1 --reason x --write";
    let discard = "parked discard S1 --reason x --write";
    let lines =
        [("why S1", 1), ("trace S1", 1), (show, 0), ("cancel S1", 1), (retry, 1), (discard, 0)];
    for (line, code) in lines.into_iter().chain([("place --id S1", 1)]) {
        let said = quadrille(&stack.server, line).await;
        assert_eq!(said.code, Some(code), "{line}: {}", said.all());
        // As a terminal of 80 columns has it.
        let text = said.all().split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains(spent), "{line}: {text}");
        for wrong in ["ublish", "settled", "asked", "mend the cause"] {
            assert!(!text.contains(wrong), "{line} says {wrong:?}: {text}");
        }
    }
    let wish = stack.broker.last("ORDERS", "orders.cancel.S1").await.unwrap();
    assert_eq!(
        (wish, stack.broker.last("ORDERS", "orders.placed.S1").await.unwrap()),
        (None, None)
    );
}

/// It would read as completed at once, or as cancelled, and never be done.
#[tokio::test]
async fn an_id_of_which_all_but_the_opening_is_left_is_spent_at_every_door() {
    let whole = Stack::running(1).await;
    let ids = whole.place_all("left", &[Fate::Completes, Fate::Declined]).await;
    whole.closed(&ids).await;
    for again in ["place --id left-0", "place --count 1 --prefix left"] {
        let said = quadrille(&whole.server, again).await.all();
        assert!(said.contains("already placed") && !said.contains("spent"), "{again}: {said}");
    }
    let events = ids.iter().map(|id| format!("orders.*.{id}")).collect();
    let events = whole.broker.last_of_many("ORDERS", events).await.unwrap();
    let left = Stack::bare().await;
    let mut stored = 0;
    for event in events.iter().filter(|event| !event.subject.contains(".placed.")) {
        let text = std::str::from_utf8(&event.payload).unwrap();
        left.raw.publish(&event.subject, &[], text).await.unwrap();
        stored += 1;
    }
    let ids = ids.iter().map(SagaId::as_str).collect::<Vec<_>>();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("orders.jsonl");
    let mut body = serde_json::to_value(order(Fate::Completes, 0)).unwrap();
    let line = |id: &&str| {
        body["order_id"] = (*id).into();
        format!("{body}\n")
    };
    std::fs::write(&file, ids.iter().map(line).collect::<String>()).unwrap();
    let lines = format!("place --lines {}", file.display());
    let named = ids.iter().map(|id| format!("place --id {id}"));
    for line in named.chain([lines, "place --count 1 --prefix left".to_owned()]) {
        let said = quadrille(&left.server, &line).await;
        let text = said.all().split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(said.code, Some(1), "{line}: {text}");
        assert!(text.contains("though there is no opening of it in the log"), "{line}: {text}");
        assert!(text.contains("take another id"), "{line}: {text}");
        assert_eq!(left.raw.messages("ORDERS").await, stored, "{line} stored something");
    }
}

#[tokio::test]
async fn every_command_says_what_is_in_the_way_of_an_open_order_and_names_one_way_out() {
    let stack = Stack::running(1).await;
    for slot in ["payment", "pivot", "closed", "inventory-undo"] {
        let subject = format!("orders.{slot}.{slot}");
        stack.raw.publish(&subject, &[], "junk").await.unwrap();
        let fate = if slot == "inventory-undo" { Fate::Declined } else { Fate::Completes };
        stack.place(&SagaId::parse(slot).unwrap(), &order(fate, 0)).await.unwrap();
    }
    for slot in ["payment", "pivot", "closed", "inventory-undo"] {
        let taken = format!("its slot {slot} is taken by message ");
        eventually(&format!("it stands still at {slot}"), async || {
            let why = quadrille(&stack.server, &format!("why {slot} --json")).await.json();
            let said = why["sentence"].as_str()?.contains(&taken);
            (why["code"] == "alien-event" && said).then_some(())
        })
        .await;
        // What cannot be taken back is past its pivot; what is taken back is not parked.
        let (mut lines, is_undo) = (vec![("why", 0), ("trace", 0)], slot == "inventory-undo");
        if slot != "closed" {
            lines.extend([("cancel", 1), ("cancel --wait", 1)]);
        }
        if !is_undo {
            let retry = ("parked retry --reason x --write", 1);
            lines.extend([("parked show", 0), ("parked discard --reason x --write", 1), retry]);
        }
        for (line, code) in lines {
            let said = quadrille(&stack.server, &format!("{line} {slot}")).await;
            let text = said.all().split_whitespace().collect::<Vec<_>>().join(" ");
            assert_eq!(said.code, Some(code), "{line}: {text}");
            assert!(text.contains(&taken), "{line}: {text}");
            assert!(text.contains("ops/runbooks/occupied-slot.md"), "{line}: {text}");
            for wrong in ["settled", "asked,", "is asked for", "mend the cause"] {
                assert!(!text.contains(wrong), "{line} says {wrong:?}: {text}");
            }
        }
        let wish = stack.broker.last("ORDERS", &format!("orders.cancel.{slot}")).await.unwrap();
        assert_eq!(wish, None, "a wish that cannot be granted is not stored");
        let refused = quadrille(&stack.server, &format!("cancel {slot} --json")).await.json();
        let why = if slot == "closed" { "too-late" } else { "slot-occupied" };
        assert_eq!(refused["refused"], json!(why));
    }
}

#[tokio::test]
async fn an_order_whose_pivot_is_free_is_taken_back_though_its_shipment_is_taken() {
    let mut stack = Stack::bare().await;
    stack.start_others("ship-order").await;
    stack.fill_stock().await;
    stack.raw.publish("orders.shipment.S2", &[], "junk").await.unwrap();
    stack.place(&SagaId::parse("S2").unwrap(), &order(Fate::Completes, 0)).await.unwrap();
    eventually("it stands still before its pivot", async || {
        let why = quadrille(&stack.server, "why S2 --json").await.json();
        let sentence = why["sentence"].as_str()?;
        (why["code"] == "alien-event" && sentence.contains("cancel S2` takes it back"))
            .then_some(())
    })
    .await;
    let said = quadrille(&stack.server, "cancel S2 --wait").await;
    assert_eq!(said.code, Some(0), "{}", said.all());
}

#[tokio::test]
async fn an_order_of_a_type_that_no_worker_knows_is_not_given_up_as_if_nothing_had_run() {
    let mut stack = Stack::running(1).await;
    let order = json!({ "specversion": "1.0", "id": "1", "type": "order.plced.v1", "source": "x",
        "data": {} });
    stack.raw.publish("orders.placed.T1", &[], &order.to_string()).await.unwrap();
    eventually("it is set aside", async || {
        let why = quadrille(&stack.server, "why T1 --json").await.json();
        (why["code"] == "parked").then_some(())
    })
    .await;
    let said = quadrille(&stack.server, "parked discard T1 --reason unreadable --write").await;
    let text = said.all().split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(said.code, Some(1), "{text}");
    let why = quadrille(&stack.server, "why T1").await.all();
    for text in [text, why.split_whitespace().collect::<Vec<_>>().join(" ")] {
        assert!(text.contains("typing mistake"), "{text}");
        assert!(text.contains("take all of this order out of the log"), "{text}");
    }
    // Nor is one of a version of a type that they know.
    let newer = order.to_string().replace("plced.v1", "placed.v9");
    stack.raw.publish("orders.placed.T9", &[], &newer).await.unwrap();
    eventually("it is set aside", async || {
        let why = quadrille(&stack.server, "why T9 --json").await.json();
        (why["code"] == "unknown-version").then_some(())
    })
    .await;
    let said = quadrille(&stack.server, "parked discard T9 --reason unreadable --write").await;
    assert_eq!(said.code, Some(1), "{}", said.all());
    let text = said.all().split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(text.contains("start workers that know this version, then"), "{text}");
    assert!(!text.contains("typing mistake"), "a newer client's order is no mistake: {text}");
    assert_eq!(stack.broker.last("ORDERS", "orders.cancel.T9").await.unwrap(), None);
    // A retry on its way makes nothing known.
    stack.workers.iter_mut().for_each(|worker| worker.kill());
    let retry = "parked retry T1 --reason again --no-wait --write";
    assert_eq!(quadrille(&stack.server, retry).await.code, Some(0));
    let said = quadrille(&stack.server, "parked discard T1 --reason x --write").await;
    assert_eq!(said.code, Some(1), "{}", said.all());
    let wish = stack.broker.last("ORDERS", "orders.cancel.T1").await.unwrap();
    assert_eq!(wish, None, "its undo would be blocked for ever");
    stack.workers.clear();
    for row in schemas::order_fulfilment::FLOW.steps {
        stack.start(Launch::of(row.worker)).await;
    }
    // Whoever cancels it keeps it from being run, and is told what is left, as why tells it.
    let said = quadrille(&stack.server, "cancel T1").await;
    let text = said.all().split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(said.code, Some(0), "{text}");
    assert!(text.contains("it never runs now, but its undo stays blocked"), "{text}");
    assert!(text.contains("know this type, and its undo goes on by itself"), "{text}");
    assert!(text.contains("take all of this order out of the log"), "{text}");
    eventually("why says that its undo is blocked", async || {
        let why = quadrille(&stack.server, "why T1 --json").await.json();
        let said = why["sentence"].as_str()?.contains("the type \"order.plced.v1\"");
        (why["code"] == "undo-blocked" && said).then_some(())
    })
    .await;
}
