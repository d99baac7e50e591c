//! What a good order gets, and what both ways say of themselves.

use std::collections::BTreeSet;

use quadrille::SagaId;
use quadrille::broker::Broker as _;
use quadrille::log::token::Token;
use schemas::order_fulfilment::FLOW;
use serde_json::json;
use tests::eventually::eventually;
use tests::stack::{Launch, Stack};

use crate::desk::{Desk, JSON, good, open_one, request, with};

#[tokio::test]
async fn an_order_that_is_placed_either_way_completes() {
    let mut stack = Stack::running(1).await;
    let desk = open_one(&mut stack).await;
    let over_http = desk.post(good(Some("http-1")).to_string()).await;
    let over_nats = desk.ask("orders.place", &[], good(Some("nats-1")).to_string()).await;
    assert_eq!((over_http.status, over_nats.status), (201, 200), "{over_http:?} {over_nats:?}");
    for (id, answer) in [("http-1", over_http), ("nats-1", over_nats)] {
        let answer = answer.json();
        let last = stack.broker.last(FLOW.stream, &format!("orders.placed.{id}")).await.unwrap();
        let state = stack.broker.state(FLOW.stream).await.unwrap().unwrap();
        let created = state.incarnation.created;
        let token = Token { created, sequence: last.unwrap().sequence };
        let wanted = json!({ "id": id, "sequence": token.sequence, "token": token.to_string() });
        assert_eq!(answer, wanted);
        assert_eq!(Token::parse(&token.to_string(), jiff::Timestamp::UNIX_EPOCH), Ok(token));
    }
    stack.closed(&["http-1", "nats-1"].map(|id| SagaId::parse(id).unwrap())).await;
    stack.quiet().await;
    stack.check().await;
}

#[tokio::test]
async fn a_request_over_nats_is_not_itself_stored() {
    let mut stack = Stack::bare().await;
    let desk = open_one(&mut stack).await;
    desk.ask("orders.place", &[], "{}").await;
    desk.ask("orders.cancel", &[], r#"{"order_id":"A.1"}"#).await;
    assert_eq!(stack.raw.messages(FLOW.stream).await, 0);
    desk.ask("orders.place", &[], good(Some("A1")).to_string()).await;
    assert_eq!(stack.raw.messages(FLOW.stream).await, 1);
    desk.ask("orders.cancel", &[], r#"{"order_id":"A1"}"#).await;
    assert_eq!(stack.raw.messages(FLOW.stream).await, 2);
}

#[tokio::test]
async fn a_body_with_many_mistakes_gets_all_of_them_in_words_with_an_example() {
    let mut stack = Stack::bare().await;
    let desk = open_one(&mut stack).await;
    let body = with(&[
        ("/customer", json!("Jane Doe")),
        ("/lines/0/unit_price/amount", json!(2.5)),
        ("/lines/1/quantity", json!(0)),
    ]);
    let over_http = desk.post(&body).await;
    let over_nats = desk.ask("orders.place", &[], body).await;
    assert_eq!((over_http.status, over_nats.status), (400, 400));
    assert_eq!(over_http.json(), over_nats.json());
    assert!(over_nats.header("Nats-Service-Error").unwrap().contains("3 mistakes"));
    let pointers = ["/customer", "/lines/0/unit_price/amount", "/lines/1/quantity"];
    let mut found = over_http.pointers();
    found.sort();
    assert_eq!(found, pointers);
    let body = over_http.json();
    let errors = body["errors"].as_array().unwrap();
    let price = errors.iter().find(|error| error["pointer"] == pointers[1]).unwrap();
    assert!(price["message"].as_str().unwrap().contains("250 for 2.50"), "{price}");
    assert_eq!(price["example"], json!(250));
}

#[tokio::test]
async fn a_wish_to_cancel_is_taken_either_way_until_it_is_too_late() {
    let mut stack = Stack::running(1).await;
    let desk = open_one(&mut stack).await;
    let cancel = async |id: &str, body: &[u8]| {
        desk.http("POST", &format!("/orders/{id}/cancel"), &[], body).await
    };
    // The charge goes on for as long as the test wants.
    stack.sandbox.set_faults("payment", &json!({ "hang_rate": 1 })).await;
    let ids = ["by-http", "by-nats", "junk"].map(|id| SagaId::parse(id).unwrap());
    for id in &ids {
        desk.post(good(Some(id.as_str())).to_string()).await;
    }
    let asked = cancel("by-http", br#"{"by":"ann","reason":"ordered twice"}"#).await;
    assert_eq!(asked.status, 202, "{asked:?}");
    let wish = stack.broker.last(FLOW.stream, "orders.cancel.by-http").await.unwrap().unwrap();
    assert_eq!(asked.json()["sequence"], json!(wish.sequence));
    let said: serde_json::Value = serde_json::from_slice(&wish.payload).unwrap();
    assert_eq!(said["data"], json!({ "by": "ann", "reason": "ordered twice" }));
    assert_eq!(said["source"], "command");
    // Asked again, it is the same wish.
    assert_eq!(cancel("by-http", b"").await.json(), asked.json());
    let over_nats = desk.ask("orders.cancel", &[], r#"{"order_id":"by-nats"}"#).await;
    assert_eq!(over_nats.status, 200, "{over_nats:?}");
    assert_eq!(cancel("junk", &[b'['; 60_000]).await.status, 202);
    for id in &ids {
        eventually(&format!("{id} turns around"), async || {
            stack.broker.last(FLOW.stream, &format!("orders.refused.{id}")).await.ok()?
        })
        .await;
    }
    stack.sandbox.clear_faults().await;
    stack.closed(&ids).await;
    desk.post(good(Some("late")).to_string()).await;
    stack.closed(&[SagaId::parse("late").unwrap()]).await;
    let over_http = cancel("late", b"").await;
    let over_nats = desk.ask("orders.cancel", &[], r#"{"order_id":"late"}"#).await;
    assert_eq!((over_http.status, over_nats.status), (409, 409), "{over_http:?}");
    assert_eq!(over_http.json(), over_nats.json());
    for path in ["/orders/a.b/cancel", "/orders/%2A/cancel", "/orders/%FF/cancel"] {
        assert_eq!(desk.http("POST", path, &[JSON], b"").await.status, 400, "{path}");
    }
    for body in ["", "{}", r#"{"order_id":"*"}"#, r#"{"order_id":1}"#] {
        assert_eq!(desk.ask("orders.cancel", &[], body).await.status, 400, "{body}");
    }
    stack.quiet().await;
    stack.check().await;
}

#[tokio::test]
async fn a_wish_is_sent_once_more_only_if_it_came_in_vain() {
    let mut stack = Stack::bare().await;
    stack.start_others("complete-order").await;
    let impatient = Launch::of("complete-order").env("QUADRILLE_WORKER__CANCEL_WAIT", "1s");
    stack.fill_stock().await;
    stack.sandbox.set_faults("payment", &json!({ "hang_rate": 1 })).await;
    let desk = open_one(&mut stack).await;
    let ids = ["placed", "early"].map(|id| SagaId::parse(id).unwrap());
    let cancel =
        async |id: &str| desk.http("POST", &format!("/orders/{id}/cancel"), &[], b"").await.status;
    let broker = stack.broker.clone();
    let released = async |id: &str| {
        let subject = format!("released.orders.complete-order-cancel.{id}");
        let found = broker.last(&FLOW.parked_stream(), &subject).await.unwrap();
        found.map(|stored| stored.sequence)
    };
    // Nobody answers yet.
    desk.post(good(Some("placed")).to_string()).await;
    assert_eq!([cancel("placed").await, cancel("placed").await], [202; 2]);
    assert_eq!(released("placed").await, None, "it is on its way");
    // A client's own wish comes before its order, and waits in vain.
    stack.raw.publish("orders.cancel.early", &[], "").await.unwrap();
    stack.start(impatient.clone()).await;
    let found = async |slot: &str, id: &SagaId| {
        broker.last(FLOW.stream, &format!("orders.{slot}.{id}")).await.ok()?
    };
    eventually("it waited in vain", async || found("cancel-refused", &ids[1]).await).await;
    assert_eq!(cancel("early").await, 404);
    assert_eq!(released("early").await, None, "there is no order still");
    // Without a worker that hears it, it is sent once, however often it is asked.
    stack.worker("complete-order").shut_down().await;
    desk.post(good(Some("early")).to_string()).await;
    assert_eq!(cancel("early").await, 202);
    let first = released("early").await;
    assert!(first.is_some());
    assert_eq!([cancel("early").await, cancel("early").await], [202; 2]);
    assert_eq!(released("early").await, first);
    stack.start(impatient).await;
    for id in &ids {
        eventually("it turns around", async || found("refused", id).await).await;
    }
    stack.sandbox.clear_faults().await;
    stack.closed(&ids).await;
    stack.quiet().await;
    stack.check().await;
}

#[tokio::test]
async fn a_second_currency_gets_that_of_the_first_line_as_its_example() {
    let mut stack = Stack::bare().await;
    let desk = open_one(&mut stack).await;
    let mut two = good(None);
    let line = two["lines"][0].clone();
    two["lines"] = json!([line.clone(), line]);
    two["lines"][0]["unit_price"]["currency"] = json!("USD");
    let answer = desk.post(two.to_string()).await;
    let mistake = &answer.json()["errors"][0];
    assert_eq!(mistake["pointer"], "/lines/1/unit_price/currency", "{answer:?}");
    assert_eq!(mistake["example"], "USD", "{mistake}");
}

/// What no worker can record is not promised.
#[tokio::test]
async fn a_wish_for_an_order_whose_slot_is_taken_is_refused_and_not_stored() {
    let mut stack = Stack::bare().await;
    let desk = open_one(&mut stack).await;
    stack.raw.publish("orders.inventory.taken", &[], "junk").await.unwrap();
    let early = desk.http("POST", "/orders/taken/cancel", &[], b"").await;
    assert!(early.status == 404, "{early:?}");
    assert!(early.json()["detail"].to_string().contains("this id is spent"), "{early:?}");
    stack.raw.publish("orders.placed.taken", &[], &good(None).to_string()).await.unwrap();
    let answer = desk.http("POST", "/orders/taken/cancel", &[], b"").await;
    assert_eq!(answer.status, 409, "{answer:?}");
    assert!(answer.json()["type"].to_string().contains(":slot-occupied"), "{answer:?}");
    assert!(answer.json()["detail"].to_string().contains("occupied-slot.md"), "{answer:?}");
    assert_eq!(stack.raw.messages(FLOW.stream).await, 2, "no wish");
    // One that is being taken back already could not end either, as `quadrille cancel` says.
    stack.raw.publish("orders.placed.turned", &[], &good(None).to_string()).await.unwrap();
    for (slot, event) in [("inventory", "inventory.refused.v1"), ("refused", "order.refused.v1")] {
        let event = json!({
            "specversion": "1.0", "id": "x", "type": event, "source": "complete-order",
            "subject": "turned", "causationid": "x", "causationseq": 3,
            "data": { "reason": "deadline" },
        });
        stack.raw.publish(&format!("orders.{slot}.turned"), &[], &event.to_string()).await.unwrap();
    }
    stack.raw.publish("orders.inventory-undo.turned", &[], "junk").await.unwrap();
    let answer = desk.http("POST", "/orders/turned/cancel", &[], b"").await;
    assert_eq!(answer.status, 409, "{answer:?}");
    assert!(answer.json()["type"].to_string().contains(":slot-occupied"), "{answer:?}");
    assert_eq!(stack.raw.messages(FLOW.stream).await, 6, "no wish");
}

/// It would be charged, and could never end.
#[tokio::test]
async fn an_order_whose_id_is_spent_is_refused_either_way_and_not_stored() {
    let mut stack = Stack::bare().await;
    let desk = open_one(&mut stack).await;
    stack.raw.publish("orders.payment.spent", &[], "junk").await.unwrap();
    let over_http = desk.post(good(Some("spent")).to_string()).await;
    let over_nats = desk.ask("orders.place", &[], good(Some("spent")).to_string()).await;
    assert_eq!((over_http.status, over_nats.status), (409, 409), "{over_http:?}");
    assert_eq!(over_http.json(), over_nats.json());
    assert!(over_http.json()["type"].to_string().contains(":id-spent"), "{over_http:?}");
    let detail = over_http.json()["detail"].to_string();
    assert!(detail.contains("its slot payment is taken by message 1"), "{detail}");
    assert!(detail.contains("take another id"), "{detail}");
    assert_eq!(stack.raw.messages(FLOW.stream).await, 1, "no order");
    assert_eq!(desk.post(good(Some("other")).to_string()).await.status, 201);
    // What comes into a slot afterwards makes no other order of it.
    stack.raw.publish("orders.payment.other", &[], "junk").await.unwrap();
    assert_eq!(desk.post(good(Some("other")).to_string()).await.status, 200);
}

/// Where its opening alone is gone, the order would read as completed, and never be done.
#[tokio::test]
async fn an_id_of_which_only_the_end_is_left_is_spent_be_it_named_or_from_a_key() {
    let mut stack = Stack::bare().await;
    let desk = open_one(&mut stack).await;
    let headers = [JSON, ("Idempotency-Key", "k1")];
    let body = good(None).to_string();
    let keyed = async |desk: &Desk| desk.http("POST", "/orders", &headers, body.as_bytes()).await;
    let first = keyed(&desk).await;
    assert_eq!((first.status, keyed(&desk).await.status), (201, 200), "{first:?}");
    let by_key = first.json()["id"].as_str().unwrap().to_owned();
    let mut stack = Stack::bare().await;
    let desk = open_one(&mut stack).await;
    for id in [&by_key, "done"] {
        let closed = json!({
            "specversion": "1.0", "id": "x", "type": "order.completed.v1", "subject": id,
            "source": "complete-order", "causationid": "x", "causationseq": 1, "data": {},
        });
        stack.raw.publish(&format!("orders.closed.{id}"), &[], &closed.to_string()).await.unwrap();
    }
    let over_http = desk.post(good(Some("done")).to_string()).await;
    let over_nats = desk.ask("orders.place", &[], good(Some("done")).to_string()).await;
    let by_key = keyed(&desk).await;
    for answer in [&over_http, &over_nats, &by_key] {
        assert_eq!(answer.status, 409, "{answer:?}");
        assert!(answer.json()["type"].to_string().contains(":id-spent"), "{answer:?}");
        let detail = answer.json()["detail"].to_string();
        assert!(detail.contains("though there is no opening of it in the log"), "{detail}");
    }
    assert!(by_key.json()["detail"].to_string().contains("another Idempotency-Key"), "{by_key:?}");
    assert_eq!(stack.raw.messages(FLOW.stream).await, 2, "no order");
}

#[tokio::test]
async fn a_wish_for_what_is_no_order_is_answered_and_not_stored() {
    let mut stack = Stack::bare().await;
    let desk = open_one(&mut stack).await;
    let over_http = desk.http("POST", "/orders/nothing/cancel", &[], b"").await;
    let over_nats = desk.ask("orders.cancel", &[], r#"{"order_id":"nothing"}"#).await;
    assert_eq!((over_http.status, over_nats.status), (404, 404), "{over_http:?}");
    assert_eq!(over_http.json(), over_nats.json());
    let said = over_http.json()["type"].clone();
    assert!(said.as_str().unwrap().ends_with(":not-found"), "{over_http:?}");
    assert_eq!(stack.raw.messages(FLOW.stream).await, 0);
}

#[tokio::test]
async fn methods_and_paths_are_those_of_http() {
    let mut stack = Stack::bare().await;
    let desk = open_one(&mut stack).await;
    for (method, path, status, allow) in [
        ("GET", "/", 404, None),
        ("GET", "/orders/A1", 404, None),
        ("POST", "/orders/", 404, None),
        ("POST", "/../orders", 404, None),
        ("GET", "/orders", 405, Some("POST")),
        ("PUT", "/orders", 405, Some("POST")),
        ("HEAD", "/orders", 405, Some("POST")),
        ("DELETE", "/orders/A1/cancel", 405, Some("POST")),
        ("POST", "/openapi.json", 405, Some("GET")),
        ("OPTIONS", "/orders", 204, Some("POST")),
        ("OPTIONS", "/openapi.json", 204, Some("GET")),
    ] {
        let answer = desk.send(&request(method, path, &[], b"")).await;
        assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
        let allowed = answer.header("allow");
        assert_eq!(allowed.is_some(), allow.is_some(), "{method} {path}: {answer:?}");
        assert!(allowed.is_none_or(|all| all.contains(allow.unwrap())), "{answer:?}");
        if status != 204 && method != "HEAD" {
            assert_eq!(answer.header("content-type"), Some("application/problem+json"));
            assert_eq!(answer.json()["status"], json!(status));
        }
    }
    let head = desk.send(&request("HEAD", "/openapi.json", &[], b"")).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
}

#[tokio::test]
async fn stock_tools_find_the_service() {
    let mut stack = Stack::bare().await;
    let desk = open_one(&mut stack).await;
    let info = desk.ask("$SRV.INFO.orders", &[], "").await.json();
    let endpoints = info["endpoints"].as_array().unwrap().iter();
    let subjects: BTreeSet<_> = endpoints.map(|it| it["subject"].as_str().unwrap()).collect();
    assert_eq!(subjects, BTreeSet::from(["orders.place", "orders.cancel"]));
}
