//! What the edge accepts is what the workers read, and the reverse; and under which id it goes.

#![expect(clippy::unwrap_used, reason = "every line of this crate is a test")]

use command::order::{Asked, NOBODY, Order};
use jiff::Timestamp;
use proptest::prelude::*;
use quadrille::broker::Stored;
use quadrille::log::envelope::Envelope;
use quadrille::{BadData, SagaId};
use rstest::rstest;
use schemas::order_fulfilment::FLOW;
use schemas::order_fulfilment::events::{OrderPlaced, SAMPLE};

fn asked(body: &[u8]) -> Asked<'_> {
    Asked { body, caller: NOBODY, idempotency_key: None, traceparent: None }
}

/// What a worker reads in the slot of this order, as `nats pub` or as we send it.
fn workers_read(saga: &SagaId, payload: &[u8]) -> Result<OrderPlaced, BadData> {
    let slot = FLOW.slot(FLOW.opens.slot, saga);
    let stored = Stored {
        subject: slot.subject().to_owned(),
        sequence: 1,
        stored_at: Timestamp::UNIX_EPOCH,
        headers: Vec::new(),
        payload: payload.to_vec().into(),
    };
    let envelope = Envelope::read(&FLOW, slot.name(), saga, FLOW.opens.event, &stored)?;
    envelope.event(saga)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    /// The sample with bytes cut out and others put in.
    #[test]
    fn the_edge_accepts_exactly_what_the_workers_read(
        at in any::<prop::sample::Index>(),
        cut in 0_usize..8,
        junk in prop::sample::select(vec![
            "", "0", "-1", "1.5", "null", "{}", "[]", ",", "}", "\\u0000", "\\ud800", "\u{202e}",
            "\"amount\":1,", "99999999999999999999", " ", "\n", "1e400", "x", "\"note\":\"n\",",
            "\"order_id\":\"B2\",", "\"order_id\":null,", "\"order_id\":\"a.b\",",
        ]),
    ) {
        let from = at.index(SAMPLE.len());
        let to = (from + cut).min(SAMPLE.len());
        let body = format!("{}{junk}{}", &SAMPLE[..from], &SAMPLE[to..]);
        let accepted = Order::read(&asked(body.as_bytes()));
        // Under the id that the body names, because no worker reads it under another one.
        let named = serde_json::from_str::<serde_json::Value>(&body).ok();
        let named = named.and_then(|body| Some(body.get("order_id")?.as_str()?.to_owned()));
        let saga = named.and_then(|id| SagaId::parse(&id).ok());
        let saga = saga.unwrap_or_else(|| SagaId::parse("A1").unwrap());
        let read = workers_read(&saga, body.as_bytes());
        prop_assert_eq!(accepted.is_ok(), read.is_ok(), "{:?} {:?}", accepted, read);
        match accepted {
            Ok(order) => {
                let (sent, saga) = (&order.opening.payload, order.opening.slot.saga());
                let stored = workers_read(saga, sent).unwrap();
                prop_assert_eq!(stored.without_id(), read.unwrap().without_id());
            }
            Err(problem) => {
                prop_assert!([400, 422].contains(&problem.status), "{:?}", problem);
                prop_assert!(!problem.errors.is_empty(), "{:?}", problem);
            }
        }
    }
}

fn id(caller: &str, key: &str) -> String {
    let asked = Asked { caller, idempotency_key: Some(key), ..asked(SAMPLE.as_bytes()) };
    Order::read(&asked).unwrap().opening.slot.saga().to_string()
}

#[test]
fn a_key_names_the_same_id_for_ever() {
    // Also by another program: uuid5 of the namespace and "-\nk1".
    assert_eq!(id(NOBODY, "k1"), "14a70b4b-8f96-5ff4-90d2-0eb65c8bdd17");
    assert_eq!(id("alice", "k1"), id("alice", "k1"));
    assert_ne!(id("alice", "k1"), id(NOBODY, "k1"));
    assert_ne!(id("alice", "k1"), id("alice", "k2"));
}

#[rstest]
#[case("")]
#[case(&"k".repeat(256))]
#[case("k\n1")]
#[case("ä")]
fn a_key_that_is_none_is_refused(#[case] key: &str) {
    let asked = Asked { idempotency_key: Some(key), ..asked(SAMPLE.as_bytes()) };
    assert_eq!(Order::read(&asked).unwrap_err().status, 400);
}

#[test]
fn what_is_sent_keeps_fields_that_we_do_not_know_and_the_clients_trace() {
    let body = SAMPLE.replacen('{', r#"{"note":"by the door","#, 1);
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let asked = Asked { traceparent: Some(trace), ..asked(body.as_bytes()) };
    let order = Order::read(&asked).unwrap();
    let sent = std::str::from_utf8(&order.opening.payload).unwrap();
    assert!(sent.contains("by the door") && sent.contains(&trace[..35]), "{sent}");
}

#[test]
fn an_order_is_the_same_whatever_its_form_and_another_if_any_field_differs() {
    let body = SAMPLE.replacen('{', r#"{"order_id":"A1","#, 1);
    let order = Order::read(&asked(body.as_bytes())).unwrap();
    let stored = |payload: &str| Stored {
        subject: "orders.placed.A1".to_owned(),
        sequence: 1,
        stored_at: Timestamp::UNIX_EPOCH,
        headers: Vec::new(),
        payload: payload.to_owned().into(),
    };
    assert!(order.is_what_is_stored(&stored(SAMPLE)), "the subject names it");
    for (what, instead) in [("cus_1001", "cus_1002"), ("10115", "10116"), ("250", "251")] {
        assert!(!order.is_what_is_stored(&stored(&SAMPLE.replacen(what, instead, 1))), "{what}");
    }
    assert!(!order.is_what_is_stored(&stored("junk")));
}
