//! The order saga: who reacts to what, what it decides, and what takes that back.
//!
//! Nothing executes this table. Subjects, filters, durables, the README's picture and
//! the start-up checks are derived from it, and tests refuse a table that cannot work.

pub mod events;
pub mod refusal;

use std::time::Duration;

use quadrille_vocabulary::flow::{Flow, opens, step};

use crate::stock;

#[rustfmt::skip]
pub static FLOW: Flow = Flow {
    saga: "order",
    stream: "ORDERS",
    subjects: "orders",
    opens: opens("placed", "order.placed.v1"),
    turns: opens("refused", "order.refused.v1"),
    steps: &[
        step("reserve-inventory")
            .on("placed")
            .writes("inventory", "inventory.reserved.v1", "inventory.refused.v1")
            .undone_by("inventory-undo", &["inventory.released.v1"])
            .keeps(stock::STREAM, &[stock::SKUS, stock::HOLDS]),
        step("charge-customer")
            .on("inventory")
            .writes("payment", "payment.charged.v1", "payment.refused.v1")
            .undone_by("payment-undo", &["payment.refunded.v1", "payment.voided.v1"])
            .requires(&["payment-gateway"]),
        step("ship-order")
            .on("payment")
            .after_pivot("pivot", "order.go.v1", "order.stop.v1")
            .writes("shipment", "shipment.dispatched.v1", "shipment.refused.v1")
            .requires(&["carrier"])
            .prefers(&["quote-service"]),
        step("complete-order")
            .on("shipment")
            .closes("closed", "order.completed.v1", "order.cancelled.v1")
            .cancels(
                opens("cancel", "order.cancel-requested.v1"),
                opens("cancel-refused", "order.cancel-refused.v1"),
            )
            .within(Duration::from_hours(24)),
    ],
};
