//! What the payment service does when nothing disturbs it.

use crate::support::{AMOUNT, Sandbox, create_form};
use hyper::Method;
use rstest::rstest;
use sandbox::{ACCEPTED_CARDS, BROKEN_CARDS, DECLINED_CARDS, PROCESSING_CARD};
use serde_json::json;

#[tokio::test]
async fn an_intent_is_created_unconfirmed_and_holds_no_money() {
    let sandbox = Sandbox::start().await;
    let form = create_form("A1", "pm_card_visa");
    let reply = sandbox.client.form("payment_intents", "k1", &form).await;
    assert_eq!(reply.status, 200);
    let id = reply.body["id"].as_str().expect("an id");
    assert!(id.starts_with("pi_"));
    assert!(reply.body["created"].as_i64().expect("seconds") > 1_700_000_000);
    let mut rest = reply.body.clone();
    let fields = rest.as_object_mut().expect("an object");
    fields.remove("id");
    fields.remove("created");
    let expected = json!({
        "object": "payment_intent", "amount": AMOUNT, "amount_received": 0, "amount_refunded": 0,
        "currency": "eur", "customer": "cus_1", "metadata": {"order": "A1"},
        "payment_method": "pm_card_visa", "status": "requires_confirmation",
    });
    assert_eq!(rest, expected);
    assert_eq!(sandbox.client.balance("A1").await, 0);
    let lines = sandbox.ledger_lines().await;
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["n"], 1);
    assert_eq!(lines[0]["effect"], "intent-created");
    assert_eq!(lines[0]["order"], "A1");
    assert_eq!(lines[0]["key"], "k1");
    assert_eq!(lines[0]["intent"], id);
    assert_eq!(lines[0]["amount"], AMOUNT);
    assert!(lines[0]["at"].as_str().expect("a time").ends_with('Z'));
}

#[tokio::test]
async fn every_accepted_card_is_captured() {
    let sandbox = Sandbox::start().await;
    for card in ACCEPTED_CARDS {
        let intent = sandbox.client.create(card, card).await;
        let reply = sandbox.client.confirm(&intent, &format!("confirm-{card}")).await;
        assert_eq!(reply.status, 200);
        assert_eq!(reply.body["status"], "succeeded");
        assert_eq!(reply.body["amount_received"], AMOUNT);
        assert_eq!(sandbox.client.balance(card).await, AMOUNT);
    }
}

#[tokio::test]
async fn every_declined_card_is_declined_with_its_code_and_captures_nothing() {
    let sandbox = Sandbox::start().await;
    for card in DECLINED_CARDS {
        let order = card.payment_method;
        let intent = sandbox.client.create(order, card.payment_method).await;
        let reply = sandbox.client.confirm(&intent, &format!("confirm-{order}")).await;
        assert_eq!(reply.status, 402);
        let error = &reply.body["error"];
        assert_eq!(error["type"], "card_error");
        assert_eq!(error["code"], card.code);
        assert_eq!(error["decline_code"], card.decline_code);
        assert_eq!(error["payment_intent"]["status"], "requires_payment_method");
        assert_eq!(sandbox.client.balance(order).await, 0);
        let again = sandbox.client.confirm(&intent, &format!("confirm-{order}")).await;
        assert_eq!((again.status, again.was_replayed()), (402, true));
    }
    assert_eq!(sandbox.effects("declined").await, DECLINED_CARDS.len());
}

#[tokio::test]
async fn a_broken_card_fails_each_time_with_its_status_and_captures_nothing() {
    let sandbox = Sandbox::start().await;
    for (card, status) in BROKEN_CARDS {
        let intent = sandbox.client.create(card, card).await;
        for _ in 0..2 {
            let reply = sandbox.client.confirm(&intent, &format!("confirm-{card}")).await;
            assert_eq!((reply.status, reply.was_replayed()), (status, false));
        }
        assert_eq!(sandbox.client.balance(card).await, 0);
    }
}

#[tokio::test]
async fn a_declined_intent_takes_another_payment_method() {
    let sandbox = Sandbox::start().await;
    let intent = sandbox.client.create("A1", "pm_card_chargeDeclined").await;
    sandbox.client.confirm(&intent, "k1").await;
    assert_eq!(sandbox.client.confirm(&intent, "k2").await.status, 400);
    let path = format!("payment_intents/{intent}/confirm");
    let reply = sandbox.client.form(&path, "k3", "payment_method=pm_card_amex").await;
    assert_eq!(reply.body["status"], "succeeded");
}

#[tokio::test]
async fn a_processing_card_decides_nothing_and_captures_nothing() {
    let sandbox = Sandbox::start().await;
    let intent = sandbox.client.create("A1", PROCESSING_CARD).await;
    let reply = sandbox.client.confirm(&intent, "k1").await;
    assert_eq!((reply.status, &reply.body["status"]), (200, &"processing".into()));
    assert_eq!(sandbox.client.balance("A1").await, 0);
    assert_eq!(sandbox.client.confirm(&intent, "k2").await.status, 400);
}

#[tokio::test]
async fn an_intent_can_be_confirmed_in_the_request_that_creates_it() {
    let sandbox = Sandbox::start().await;
    let form = format!("{}&confirm=true", create_form("A1", "pm_card_visa"));
    let reply = sandbox.client.form("payment_intents", "k1", &form).await;
    assert_eq!(reply.body["status"], "succeeded");
    let effects: Vec<_> =
        sandbox.ledger_lines().await.iter().map(|line| line["effect"].clone()).collect();
    assert_eq!(effects, ["intent-created", "captured"]);
}

#[tokio::test]
async fn a_confirm_after_a_cancel_is_refused() {
    let sandbox = Sandbox::start().await;
    let intent = sandbox.client.create("A1", "pm_card_visa").await;
    let canceled = sandbox.client.cancel(&intent, "cancel").await;
    assert_eq!((canceled.status, &canceled.body["status"]), (200, &json!("canceled")));
    let late = sandbox.client.confirm(&intent, "confirm").await;
    assert_eq!((late.status, late.error_code()), (400, "payment_intent_unexpected_state"));
    assert_eq!(late.body["error"]["payment_intent"]["status"], "canceled");
    let again = sandbox.client.cancel(&intent, "cancel-2").await;
    assert_eq!((again.status, again.error_code()), (400, "payment_intent_unexpected_state"));
    assert_eq!(again.body["error"]["payment_intent"]["status"], "canceled");
    assert_eq!(sandbox.client.balance("A1").await, 0);
    assert_eq!(sandbox.effects("captured").await, 0);
}

#[tokio::test]
async fn a_cancel_after_a_confirm_says_succeeded() {
    let sandbox = Sandbox::start().await;
    let intent = sandbox.client.create("A1", "pm_card_visa").await;
    sandbox.client.confirm(&intent, "confirm").await;
    let late = sandbox.client.cancel(&intent, "cancel").await;
    assert_eq!((late.status, late.error_code()), (400, "payment_intent_unexpected_state"));
    assert_eq!(late.body["error"]["payment_intent"]["status"], "succeeded");
    let twice = sandbox.client.confirm(&intent, "confirm-2").await;
    assert_eq!((twice.status, twice.error_code()), (400, "payment_intent_unexpected_state"));
    assert_eq!(twice.body["error"]["payment_intent"]["status"], "succeeded");
    assert_eq!(sandbox.effects("captured").await, 1);
}

#[tokio::test]
async fn racing_confirms_and_cancels_end_one_way_each() {
    let sandbox = Sandbox::start().await;
    for round in 0..50 {
        let intent = sandbox.client.create(&format!("R{round}"), "pm_card_visa").await;
        let (confirm, cancel) = (format!("confirm-{round}"), format!("cancel-{round}"));
        let (confirmed, canceled) = tokio::join!(
            sandbox.client.confirm(&intent, &confirm),
            sandbox.client.cancel(&intent, &cancel),
        );
        let held = sandbox.client.balance(&format!("R{round}")).await;
        match (confirmed.status, canceled.status) {
            (200, 400) => assert_eq!(held, AMOUNT),
            (400, 200) => assert_eq!(held, 0),
            other => panic!("both or neither: {other:?}"),
        }
    }
}

#[tokio::test]
async fn refunds_stop_at_what_is_held_and_the_ledger_tells() {
    let sandbox = Sandbox::start().await;
    let intent = sandbox.client.create("A1", "pm_card_visa").await;
    sandbox.client.confirm(&intent, "confirm").await;
    let part = sandbox.client.refund(&intent, Some(1_200), "r1").await;
    assert_eq!((part.status, &part.body["amount"]), (200, &json!(1_200)));
    assert_eq!(part.body["object"], "refund");
    assert_eq!(part.body["payment_intent"], json!(intent));
    let much = sandbox.client.refund(&intent, Some(3_001), "r2").await;
    assert_eq!((much.status, much.error_code()), (400, "amount_too_large"));
    let rest = sandbox.client.refund(&intent, None, "r3").await;
    assert_eq!((rest.status, &rest.body["amount"]), (200, &json!(3_000)));
    let over = sandbox.client.refund(&intent, None, "r4").await;
    assert_eq!((over.status, over.error_code()), (400, "charge_already_refunded"));
    assert_eq!(sandbox.effects("over-refund-refused").await, 2);
    assert_eq!(sandbox.effects("refunded").await, 2);
    assert_eq!(sandbox.client.balance("A1").await, 0);
    let now = sandbox.client.get(&format!("/payment/v1/payment_intents/{intent}")).await;
    assert_eq!(now.body["amount_refunded"], AMOUNT);
    assert_eq!(now.body["status"], "succeeded");
}

#[tokio::test]
async fn a_refund_of_what_was_never_captured_is_an_over_refund() {
    let sandbox = Sandbox::start().await;
    let intent = sandbox.client.create("A1", "pm_card_visa").await;
    let reply = sandbox.client.refund(&intent, None, "r1").await;
    assert_eq!((reply.status, reply.error_code()), (400, "payment_intent_unexpected_state"));
    assert_eq!(sandbox.effects("over-refund-refused").await, 1);
}

#[tokio::test]
async fn a_search_finds_the_intents_of_an_order_newest_first() {
    let sandbox = Sandbox::start().await;
    let first = sandbox.client.create("A1", "pm_card_visa").await;
    let form = create_form("A1", "pm_card_amex");
    let second = sandbox.client.form("payment_intents", "other", &form).await;
    sandbox.client.create("A2", "pm_card_visa").await;
    let path = "/payment/v1/payment_intents/search?query=metadata%5B'order'%5D:'A1'";
    let found = sandbox.client.get(path).await;
    assert_eq!(found.status, 200);
    assert_eq!(found.body["object"], "search_result");
    assert_eq!(found.body["has_more"], false);
    assert_eq!(found.body["data"][0]["id"], second.body["id"]);
    assert_eq!(found.body["data"][1]["id"], json!(first));
    assert_eq!(found.body["data"].as_array().map(Vec::len), Some(2));
    let none = sandbox.client.get(&path.replace("A1", "A9")).await;
    assert_eq!(none.body["data"], json!([]));
    let bad = sandbox.client.get("/payment/v1/payment_intents/search?query=status:'x'").await;
    assert_eq!((bad.status, &bad.body["error"]["param"]), (400, &json!("query")));
}

#[tokio::test]
async fn an_unknown_intent_is_not_found() {
    let sandbox = Sandbox::start().await;
    let found = sandbox.client.get("/payment/v1/payment_intents/pi_none").await;
    assert_eq!((found.status, found.error_code()), (404, "resource_missing"));
    assert_eq!(sandbox.client.confirm("pi_none", "k1").await.status, 404);
}

#[rstest]
#[case("amount=0&currency=eur&payment_method=pm_card_visa", "amount")]
#[case("amount=-5&currency=eur&payment_method=pm_card_visa", "amount")]
#[case("amount=1.5&currency=eur&payment_method=pm_card_visa", "amount")]
#[case("currency=eur&payment_method=pm_card_visa", "amount")]
#[case("amount=5&currency=EUR&payment_method=pm_card_visa", "currency")]
#[case("amount=5&currency=eur&payment_method=pm_card_none", "payment_method")]
#[case("amount=5&currency=eur&payment_method=pm_card_visa&confirm=yes", "confirm")]
#[case("amount=5&currency=eur&payment_method=pm_card_visa&colour=red", "colour")]
#[case("amount=5&amount=6&currency=eur&payment_method=pm_card_visa", "amount")]
#[tokio::test]
async fn a_bad_parameter_is_named_and_leaves_the_key_free(#[case] form: &str, #[case] param: &str) {
    let sandbox = Sandbox::start().await;
    let bad = sandbox.client.form("payment_intents", "k1", form).await;
    assert_eq!(bad.status, 400);
    assert_eq!(bad.body["error"]["type"], "invalid_request_error");
    assert_eq!(bad.body["error"]["param"], param);
    let good = create_form("A1", "pm_card_visa");
    let reply = sandbox.client.form("payment_intents", "k1", &good).await;
    assert_eq!((reply.status, reply.was_replayed()), (200, false));
}

#[tokio::test]
async fn a_post_without_a_key_is_refused() {
    let sandbox = Sandbox::start().await;
    let form_type = [("content-type", "application/x-www-form-urlencoded")];
    let form = create_form("A1", "pm_card_visa");
    let path = "/payment/v1/payment_intents";
    let reply = sandbox.client.send(Method::POST, path, &form_type, &form).await.expect("a reply");
    assert_eq!((reply.status, &reply.body["error"]["param"]), (400, &json!("Idempotency-Key")));
    assert!(sandbox.ledger_lines().await.is_empty());
}

/// Asks again for ten seconds.
async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let end = tokio::time::Instant::now() + std::time::Duration::from_secs(10);
    while !is_so().await {
        assert!(tokio::time::Instant::now() < end, "{what}");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_payment_that_is_processing_succeeds_by_itself_and_its_key_goes_on_saying_processing() {
    let sandbox = Sandbox::start().await;
    let intent = sandbox.client.create("A1", "pm_card_visa").await;
    sandbox.client.set_faults("payment", r#"{"processing_ms":150}"#).await;
    assert_eq!(sandbox.client.confirm(&intent, "c1").await.body["status"], "processing");
    assert_eq!(sandbox.client.balance("A1").await, 0);
    assert_eq!(sandbox.client.cancel(&intent, "x1").await.status, 400);
    let sandbox = sandbox.restart().await;
    until("it succeeds, after a restart too", async || {
        sandbox.client.balance("A1").await == AMOUNT
    })
    .await;
    assert_eq!(sandbox.client.confirm(&intent, "c1").await.body["status"], "processing");
    let lines = sandbox.ledger_lines().await;
    let captured = lines.iter().find(|line| line["effect"] == "captured").expect("a line");
    assert_eq!(captured["key"], "c1");
}

#[tokio::test]
async fn a_pending_refund_ends_by_itself_and_one_that_fails_gives_the_money_up_again() {
    let sandbox = Sandbox::start().await;
    let intent = sandbox.client.create("A1", "pm_card_visa").await;
    sandbox.client.confirm(&intent, "c1").await;
    let status = async |at: usize| {
        let path = format!("/payment/v1/refunds?payment_intent={intent}");
        sandbox.client.get(&path).await.body["data"][at]["status"].clone()
    };
    let fails = r#"{"refund_pending_ms":50,"refund_fails":true}"#;
    sandbox.client.set_faults("payment", fails).await;
    assert_eq!(sandbox.client.refund(&intent, None, "r1").await.body["status"], "pending");
    let all = sandbox.client.refund(&intent, None, "r2").await;
    assert_eq!(all.error_code(), "charge_already_refunded");
    until("it fails", async || status(0).await == "failed").await;
    assert_eq!(sandbox.client.balance("A1").await, AMOUNT);
    sandbox.client.set_faults("payment", r#"{"refund_pending_ms":50}"#).await;
    assert_eq!(sandbox.client.refund(&intent, None, "r3").await.body["status"], "pending");
    until("it succeeds", async || sandbox.client.balance("A1").await == 0).await;
    assert_eq!((status(0).await, status(1).await), (json!("succeeded"), json!("failed")));
}

#[tokio::test]
async fn a_search_may_name_the_log_too() {
    let sandbox = Sandbox::start().await;
    let form = format!("{}&metadata%5Blog%5D=here", create_form("A1", "pm_card_visa"));
    sandbox.client.form("payment_intents", "k1", &form).await;
    let found = async |log: &str| {
        let query = format!("metadata%5B'order'%5D:'A1'%20AND%20metadata%5B'log'%5D:'{log}'");
        let path = format!("/payment/v1/payment_intents/search?query={query}");
        sandbox.client.get(&path).await.body["data"].as_array().map(Vec::len)
    };
    assert_eq!((found("here").await, found("there").await), (Some(1), Some(0)));
}
