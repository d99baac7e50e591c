//! Orders written into the log as clients and workers would.

use anyhow::bail;
use futures::StreamExt;
use quadrille::SagaId;
use quadrille::broker::{Broker, Published};
use quadrille::ids::event_id;
use quadrille::nats::NatsBroker;
use schemas::order_fulfilment::FLOW;
use serde_json::{Value, json};

/// One event: slot, source, type, data.
pub type Event = (&'static str, &'static str, &'static str, Value);

/// Orders whose events are written side by side.
const WAVE: u64 = 50;
/// Publishes in flight.
const IN_FLIGHT: usize = 512;

/// Writes orders, each with the events of its story, up to a number of events.
///
/// # Errors
/// When the broker does not store one.
pub async fn write(
    broker: &NatsBroker,
    orders: u64,
    most: u64,
    story: impl Fn(u64) -> Vec<Event>,
) -> anyhow::Result<()> {
    let waves = (0..orders.div_ceil(WAVE)).flat_map(|wave| {
        let stories: Vec<_> = (wave * WAVE..((wave + 1) * WAVE).min(orders))
            .map(|order| (order, story(order)))
            .collect();
        let longest = stories.iter().map(|(_, story)| story.len()).max().unwrap_or(0);
        let events = (0..longest).flat_map(move |at| {
            let of = |(order, story): &(u64, Vec<Event>)| Some((*order, story.get(at)?.clone()));
            stories.iter().filter_map(of).collect::<Vec<_>>()
        });
        events.collect::<Vec<_>>()
    });
    let published = waves.take(usize::try_from(most)?).map(|(order, event)| async move {
        let (id, slot) = (SagaId::parse(&format!("order-{order}"))?, event.0);
        let payload = payload(&id, order, event);
        match broker.publish_once(&FLOW.slot(slot, &id), payload.into()).await {
            Published::Stored { .. } => Ok(()),
            other => bail!("{slot} of {id}: {other:?}"),
        }
    });
    let mut published = futures::stream::iter(published).buffered(IN_FLIGHT);
    while let Some(stored) = published.next().await {
        stored?;
    }
    Ok(())
}

/// An order of `customers` that is placed, and its pieces reserved.
pub fn reserved(order: u64, customers: u64, country: &str) -> Vec<Event> {
    let ship_to = ship_to(country);
    let lines = json!([{
        "sku": format!("SKU-{}", order % 500), "quantity": 3,
        "unit_price": { "amount": 320, "currency": "EUR" },
    }]);
    let placed = json!({
        "customer": format!("cus_{}", order % customers), "payment_method": "pm_card_visa",
        "ship_to": ship_to, "lines": lines,
    });
    let reserved = json!({
        "customer": "cus_1", "payment_method": "pm_card_visa", "ship_to": ship_to, "pieces": 3,
        "total": money(),
    });
    vec![
        ("placed", "client", "order.placed.v1", placed),
        ("inventory", "reserve-inventory", "inventory.reserved.v1", reserved),
    ]
}

/// What follows if it goes well.
pub fn completed(order: u64, country: &str) -> [Event; 4] {
    let charged = json!({
        "payment": format!("pi_{order}"), "amount": money(), "ship_to": ship_to(country),
        "pieces": 3,
    });
    let sent = json!({
        "carrier": "post", "label": format!("lbl_{order}"), "tracking": format!("TR{order}"),
    });
    [
        ("payment", "charge-customer", "payment.charged.v1", charged),
        ("pivot", "ship-order", "order.go.v1", json!({})),
        ("shipment", "ship-order", "shipment.dispatched.v1", sent),
        ("closed", "complete-order", "order.completed.v1", json!({})),
    ]
}

fn money() -> Value {
    json!({ "amount": 960, "currency": "EUR" })
}

fn ship_to(country: &str) -> Value {
    json!({ "country": country, "postcode": "10115" })
}

fn payload(id: &SagaId, order: u64, (slot, source, event_type, data): Event) -> String {
    let event = event_id(FLOW.saga, id, slot, event_type, source);
    json!({
        "specversion": "1.0", "id": event, "type": event_type, "source": source, "subject": id,
        "time": "2026-11-25T12:00:00Z", "datacontenttype": "application/json",
        "causationid": event, "causationseq": 1, "attempt": 1,
        "startedat": "2026-11-25T12:00:00Z",
        "traceparent": format!("00-{:032x}-0000000000000001-01", order + 1), "data": data,
    })
    .to_string()
}
