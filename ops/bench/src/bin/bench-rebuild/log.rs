//! Writes the log that both sides read.

use anyhow::bail;
use futures::StreamExt;
use quadrille::SagaId;
use quadrille::broker::{Broker, Published};
use quadrille::nats::NatsBroker;
use schemas::order_fulfilment::FLOW;
use serde_json::json;

/// Orders of six events each, fifty at a time.
pub(crate) async fn write(broker: &NatsBroker, events: u64) -> anyhow::Result<()> {
    const SLOTS: [&str; 6] = ["placed", "inventory", "payment", "pivot", "shipment", "closed"];
    let orders = events.div_ceil(SLOTS.len() as u64);
    let waves = (0..orders.div_ceil(50)).flat_map(|wave| {
        SLOTS.into_iter().flat_map(move |slot| {
            (wave * 50..(wave * 50 + 50).min(orders)).map(move |order| (slot, order))
        })
    });
    let published = waves.take(usize::try_from(events)?).map(|(slot, order)| async move {
        let id = SagaId::parse(&format!("order-{order}"))?;
        let payload = payload(slot, &id, order);
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

fn payload(slot: &str, id: &SagaId, order: u64) -> String {
    let money = json!({ "amount": 960, "currency": "EUR" });
    let ship_to = json!({ "country": "DE", "postcode": "10115" });
    let (source, event_type, data) = match slot {
        "placed" => (
            "client",
            "order.placed.v1",
            json!({
                "customer": format!("cus_{}", order % 10_000), "payment_method": "pm_card_visa",
                "ship_to": ship_to,
                "lines": [{ "sku": format!("SKU-{}", order % 500), "quantity": 3,
                    "unit_price": { "amount": 320, "currency": "EUR" } }],
            }),
        ),
        "inventory" => (
            "reserve-inventory",
            "inventory.reserved.v1",
            json!({
                "customer": "cus_1", "payment_method": "pm_card_visa", "ship_to": ship_to,
                "pieces": 3, "total": money,
            }),
        ),
        "payment" => (
            "charge-customer",
            "payment.charged.v1",
            json!({
                "payment": format!("pi_{order}"), "amount": money, "ship_to": ship_to,
                "pieces": 3,
            }),
        ),
        "pivot" => ("ship-order", "order.go.v1", json!({})),
        "shipment" => (
            "ship-order",
            "shipment.dispatched.v1",
            json!({
                "carrier": "post",
                "label": format!("lbl_{order}"), "tracking": format!("TR{order}"),
            }),
        ),
        _ => ("complete-order", "order.completed.v1", json!({})),
    };
    let event = quadrille::ids::event_id(FLOW.saga, id, slot, event_type, source);
    json!({
        "specversion": "1.0", "id": event, "type": event_type, "source": source, "subject": id,
        "time": "2026-11-25T12:00:00Z", "datacontenttype": "application/json",
        "causationid": event, "causationseq": 1, "attempt": 1,
        "startedat": "2026-11-25T12:00:00Z",
        "traceparent": format!("00-{order:032x}-0000000000000001-01"), "data": data,
    })
    .to_string()
}
