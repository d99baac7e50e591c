//! Orders of every fate.

use anyhow::ensure;
use bench::stories::{Event, completed, reserved};
use quadrille::SagaId;
use quadrille::broker::{Broker, Published};
use quadrille::log::parked;
use quadrille::nats::NatsBroker;
use schemas::order_fulfilment::FLOW;
use serde_json::json;

/// Orders at the end of the log of which some are still on their way.
const OPEN: u64 = 2_000;

/// Most orders of `orders` complete, and one in ten is refused.
pub(crate) fn story(order: u64, orders: u64) -> Vec<Event> {
    let country = ["DE", "AT", "FR"][(order % 3) as usize];
    let mut story = reserved(order, 100_000, country);
    if order.is_multiple_of(10) {
        let [inventory, payment, complete] =
            ["reserve-inventory", "charge-customer", "complete-order"];
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
        story.extend(completed(order, country));
    }
    if order + OPEN >= orders {
        story.truncate((order % 7 + 1) as usize);
    }
    story
}

/// Sets aside the openings of this many orders that are still open, as the first worker would.
pub(crate) async fn set_aside(broker: &NatsBroker, orders: u64, count: u64) -> anyhow::Result<()> {
    let open = orders.saturating_sub(OPEN)..orders;
    // Of these only the opening is there.
    for order in open.filter(|order| order % 7 == 0 && order % 10 != 0).take(count.try_into()?) {
        let id = SagaId::parse(&format!("order-{order}"))?;
        let durable = "reserve-inventory";
        let opening = FLOW.slot("placed", &id);
        let stored = broker.last(FLOW.stream, opening.subject()).await?;
        let sequence = stored.map(|stored| stored.sequence);
        let entry = json!({
            "parked_at": "2026-11-25T12:00:01Z", "durable": durable, "reason": "invalid-field",
            "pointer": "/lines/0/quantity", "message": "expected a whole number", "deliveries": 1,
            "subject": opening.subject(), "sequence": sequence, "headers": [],
            "stored_at": "2026-11-25T12:00:00Z", "payload_base64": "",
        });
        let subject = parked::subject(&FLOW, durable, Some(&id));
        let published = broker.publish(&subject, entry.to_string().into()).await;
        ensure!(matches!(published, Published::Stored { .. }), "{subject}: {published:?}");
    }
    Ok(())
}
