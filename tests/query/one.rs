//! One order: its story comes out of the rows, and is what the log tells.

use std::collections::BTreeSet;

use jiff::Timestamp;
use quadrille::SagaId;
use quadrille::broker::{Broker, Stored};
use quadrille::log::{parked, story};
use quadrille::topology::parked_stream_name;
use schemas::order_fulfilment::FLOW;
use serde_json::{Value, json};
use tests::stack::{Fate, Stack};

use crate::asked::Query;
use crate::writer;

async fn put(stack: &Stack, id: &str, fate: Fate) -> u64 {
    let mut last = 0;
    for event in writer::story(id, fate, 1) {
        last = stack.raw.publish(&event.subject, &[], &event.payload).await.expect("a new event");
    }
    last
}

/// What the log holds of an order, and what was set aside of it.
async fn stored(stack: &Stack, id: &SagaId) -> [Vec<Stored>; 2] {
    let events = stack.broker.last_of_many(FLOW.stream, vec![FLOW.story(id)]).await;
    let mut events = events.expect("the log is read");
    // Under a name that is none of a slot: the rows have it among what was skipped.
    events.retain(|event| FLOW.parse_subject(&event.subject).is_some());
    let parked_stream = parked_stream_name(&FLOW);
    let parked = stack.broker.last_of_many(&parked_stream, parked::filters(&FLOW, id)).await;
    [events, parked.expect("what was set aside is read")]
}

/// The rows have times to the microsecond.
fn to_the_microsecond(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                to_the_microsecond(value);
                if ["stored_at", "since"].contains(&name.as_str()) {
                    let time: Timestamp = value.as_str().unwrap().parse().unwrap();
                    let time = Timestamp::from_microsecond(time.as_microsecond()).unwrap();
                    *value = json!(time);
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(to_the_microsecond),
        _ => {}
    }
}

/// A wish, which has a reason and is no refusal, and a message that was set aside.
async fn wished_and_set_aside(stack: &Stack, id: &str) {
    let wish = json!({
        "specversion": "1.0", "id": "wish", "type": "order.cancel-requested.v1",
        "source": "client", "subject": id, "data": { "reason": "changed-my-mind" },
    });
    let subject = format!("orders.cancel.{id}");
    stack.raw.publish(&subject, &[], &wish.to_string()).await.expect("a wish");
    let [events, _] = stored(stack, &SagaId::parse(id).unwrap()).await;
    let entry = json!({
        "parked_at": events[0].stored_at, "durable": "reserve-inventory", "reason": "invalid-field",
        "pointer": "", "message": "it cannot be read", "deliveries": 1,
        "subject": events[0].subject, "sequence": events[0].sequence,
    });
    let subject = format!("parked.orders.reserve-inventory.{id}");
    stack.raw.publish(&subject, &[], &entry.to_string()).await.expect("it is set aside");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rows_tell_of_every_order_what_the_log_tells() {
    let stack = Stack::bare().await;
    writer::write(&stack.raw, "torn", 40).await;
    wished_and_set_aside(&stack, "torn-begin").await;
    let query = Query::start(&stack, "query").await;
    query.reaches(stack.raw.stream(FLOW.stream).await["state"]["last_seq"].as_u64().unwrap()).await;
    let log = stack.history().await.log;
    let ids = log.iter().filter_map(|message| FLOW.parse_subject(&message.subject));
    let ids: BTreeSet<_> = ids.map(|(_, id)| id).collect();
    assert!(ids.len() > 35, "{}", ids.len());
    let (mut reasons, mut set_aside) = (0, 0);
    for id in ids {
        let [events, parked] = stored(&stack, &id).await;
        for at in events.iter().map(|event| Some(event.sequence)).chain([None]) {
            let now = |sequence: u64| at.is_none_or(|at| sequence <= at);
            let events: Vec<_> =
                events.iter().filter(|event| now(event.sequence)).cloned().collect();
            let time = events.last().map(|event| event.stored_at);
            let parked = parked.iter().filter(|one| at.is_none() || Some(one.stored_at) <= time);
            let parked: Vec<_> = parked.cloned().collect();
            let told = story::tell(&FLOW, &id, &events, &parked);
            let mut told = serde_json::to_value(told).unwrap();
            let question = at.map_or_else(String::new, |at| format!("?at={at}"));
            let mut answer = query.ok(&format!("/orders/{id}{question}")).await;
            for name in ["at", "as_of"] {
                answer.as_object_mut().unwrap().remove(name).expect("it is there");
            }
            [&mut told, &mut answer].into_iter().for_each(to_the_microsecond);
            // One that is open grows older while nothing happens.
            let age = answer.as_object_mut().unwrap().remove("age_ms");
            let (age, took) = (age.as_ref().and_then(Value::as_f64), told["took_ms"].as_f64());
            match (at, told["waits_for"].is_null()) {
                (None, true) => assert_eq!(age, took, "{id}"),
                (None, false) => assert!(age > took, "{id}: {age:?} {took:?}"),
                (Some(_), _) => assert_eq!(age, None, "{id}"),
            }
            assert_eq!(answer, told, "{id}{question}");
            let lines = told["events"].as_array().unwrap().iter();
            reasons += lines.filter(|line| line["reason"] == "changed-my-mind").count();
            set_aside += usize::from(told["state"] == "parked");
        }
    }
    assert_eq!((reasons, set_aside), (2, 1), "a wish is told with its reason, and what is parked");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_is_told_without_reading_the_log_and_a_payload_with_one_read() {
    let stack = Stack::bare().await;
    let query = Query::start(&stack, "query").await;
    put(&stack, "Told-1", Fate::NoCarrier).await;
    // So that nobody who follows the log asks for a message of the first.
    let last = put(&stack, "Other-1", Fate::Completes).await;
    query.reaches(last).await;
    let mut heard = stack.raw.hear("$JS.API.>").await;
    let told = query.ok("/orders/Told-1").await;
    let events = told["events"].as_array().unwrap().clone();
    assert_eq!(events.len(), 9, "{told}");
    let early = query.ok(&format!("/orders/Told-1?at={}", events[2]["sequence"])).await;
    assert_eq!(early["events"].as_array().unwrap().len(), 3, "{early}");
    let reads = |asked: Vec<(String, bytes::Bytes)>| {
        let parked_stream = parked_stream_name(&FLOW);
        let asked = asked.into_iter().filter(|(subject, _)| !subject.ends_with(&parked_stream));
        let asked = asked.map(|(_, body)| String::from_utf8_lossy(&body).into_owned());
        let names = |body: &String| {
            let read: Value = serde_json::from_str(body).unwrap_or_default();
            body.contains("Told-1") || events.iter().any(|event| read["seq"] == event["sequence"])
        };
        asked.filter(names).collect::<Vec<_>>()
    };
    assert_eq!(reads(heard.more().await), Vec::<String>::new(), "nothing of it is read");
    let payload = query.ok(&format!("/orders/Told-1/events/{}", events[0]["sequence"])).await;
    assert_eq!(payload["payload"]["customer"], "cus_1", "{payload}");
    assert_eq!(reads(heard.more().await).len(), 1, "one message is read when it is asked for");
    let beyond = query.ok("/orders/Told-1?at=99999").await;
    assert_eq!(beyond["state"], "cancelled", "{beyond}");
    assert_eq!(reads(heard.more().await).len(), 1, "the log is asked what the rows may not have");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_order_is_told_also_as_of_an_earlier_place() {
    let stack = Stack::bare().await;
    let last = put(&stack, "NoCarrier-3", Fate::NoCarrier).await;
    let query = Query::start(&stack, "query").await;
    query.reaches(last).await;
    let now = query.ok("/orders/NoCarrier-3").await;
    assert_eq!(
        (&now["state"], &now["turned_by"]["slot"]),
        (&json!("cancelled"), &json!("shipment"))
    );
    let third = &now["events"][2]["sequence"];
    let then = query.ok(&format!("/orders/NoCarrier-3?at={third}")).await;
    assert_eq!(then["state"], "open", "{then}");
    assert_eq!(then["waits_for"]["worker"], "ship-order", "{then}");
    assert_eq!(then["events"].as_array().unwrap().len(), 3, "{then}");
    put(&stack, "Later-1", Fate::Completes).await;
    let early = query.get("/orders/Later-1?at=1").await;
    assert_eq!(early.status, 404, "{early:?}");
}
