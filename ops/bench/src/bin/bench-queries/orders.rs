//! Orders of every fate.

use bench::stories::{Event, completed, reserved};
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
