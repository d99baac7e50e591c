//! Orders of every fate, written into the log as the workers would.

use anyhow::bail;
use futures::StreamExt;
use quadrille::SagaId;
use quadrille::broker::{Broker, Published};
use quadrille::ids::event_id;
use quadrille::nats::NatsBroker;
use schemas::order_fulfilment::FLOW;
use serde_json::{Value, json};

/// One event: slot, worker, type, data.
type Event = (&'static str, &'static str, &'static str, Value);

/// Fifty orders at a time, their events side by side.
pub(crate) async fn write(broker: &NatsBroker, orders: u64) -> anyhow::Result<()> {
    const WAVE: u64 = 50;
    let waves = (0..orders.div_ceil(WAVE)).flat_map(|wave| {
        let stories: Vec<_> = (wave * WAVE..((wave + 1) * WAVE).min(orders))
            .map(|order| (order, story(order, order + 2_000 >= orders)))
            .collect();
        let longest = stories.iter().map(|(_, story)| story.len()).max().unwrap_or(0);
        let events = (0..longest).flat_map(move |at| {
            let of = |(order, story): &(u64, Vec<Event>)| Some((*order, story.get(at)?.clone()));
            stories.iter().filter_map(of).collect::<Vec<_>>()
        });
        events.collect::<Vec<_>>()
    });
    let published = waves.map(|(order, event)| async move {
        let (id, slot) = (SagaId::parse(&format!("order-{order}"))?, event.0);
        let payload = payload(&id, order, event);
        match broker.publish_once(&FLOW.slot(slot, &id), payload.into()).await {
            Published::Stored { .. } => Ok(()),
            other => bail!("{slot} of {id}: {other:?}"),
        }
    });
    let mut published = futures::stream::iter(published).buffered(512);
    while let Some(stored) = published.next().await {
        stored?;
    }
    Ok(())
}

/// Most orders complete, one in ten is refused; some of the `last` ones are still on their way.
fn story(order: u64, last: bool) -> Vec<Event> {
    let money = json!({ "amount": 960, "currency": "EUR" });
    let ship_to =
        json!({ "country": (["DE", "AT", "FR"][(order % 3) as usize]), "postcode": "10115" });
    let lines = json!([{
        "sku": format!("SKU-{}", order % 500), "quantity": 3,
        "unit_price": { "amount": 320, "currency": "EUR" },
    }]);
    let placed = json!({
        "customer": format!("cus_{}", order % 100_000), "payment_method": "pm_card_visa",
        "ship_to": ship_to, "lines": lines,
    });
    let reserved = json!({
        "customer": "cus_1", "payment_method": "pm_card_visa", "ship_to": ship_to, "pieces": 3,
        "total": money,
    });
    let [inventory, payment, shipment, complete] =
        ["reserve-inventory", "charge-customer", "ship-order", "complete-order"];
    let mut story = vec![
        ("placed", "client", "order.placed.v1", placed),
        ("inventory", inventory, "inventory.reserved.v1", reserved),
    ];
    if order.is_multiple_of(10) {
        let reason = ["card-declined", "insufficient-funds"][(order / 10 % 2) as usize];
        let signal = json!({ "step": payment, "reason": reason, "by": payment });
        story.extend([
            ("payment", payment, "payment.refused.v1", json!({ "reason": reason })),
            ("refused", payment, "order.refused.v1", signal),
            ("payment-undo", payment, "payment.voided.v1", json!({})),
            ("inventory-undo", inventory, "inventory.released.v1", json!({})),
            ("closed", complete, "order.cancelled.v1", json!({})),
        ]);
    } else {
        let charged = json!({
            "payment": format!("pi_{order}"), "amount": money, "ship_to": ship_to, "pieces": 3,
        });
        let sent = json!({
            "carrier": "post", "label": format!("lbl_{order}"), "tracking": format!("TR{order}"),
        });
        story.extend([
            ("payment", payment, "payment.charged.v1", charged),
            ("pivot", shipment, "order.go.v1", json!({})),
            ("shipment", shipment, "shipment.dispatched.v1", sent),
            ("closed", complete, "order.completed.v1", json!({})),
        ]);
    }
    if last {
        story.truncate((order % 7 + 1) as usize);
    }
    story
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
