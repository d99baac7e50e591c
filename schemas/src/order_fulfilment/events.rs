//! The events of the order saga, in the order they happen.
//!
//! Each carries what the next step needs (event-carried state). No personal data: customer and
//! payment method by reference, the destination by country and postcode.

mod placed;

use quadrille_vocabulary::event::Kind;
use quadrille_vocabulary::ids::Reference;
use quadrille_vocabulary::{Money, event, one_of, refusal};
use serde::{Deserialize, Serialize};

use crate::Sku;

pub use placed::{
    Charge, ChargeKind, Destination, MAX_CHARGES, MAX_LINES, MAX_PLACED_BYTES, OrderLine,
    OrderPlaced, SAMPLE, full_sample,
};

/// The stock is held for this order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct InventoryReserved {
    pub customer: Reference,
    pub payment_method: Reference,
    pub ship_to: Destination,
    /// Pieces held.
    pub pieces: u64,
    /// What the customer owes.
    pub total: Money,
}
event!(InventoryReserved = "inventory.reserved.v1");

/// The order cannot be served from stock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct InventoryRefused {
    /// `out-of-stock`, `unknown-sku`, or the code of the worker that refused on the step's behalf.
    pub reason: String,
    /// The first SKU that was missing, if that was the reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sku: Option<Sku>,
}
event!(InventoryRefused = "inventory.refused.v1");

/// The customer paid, or owes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PaymentCharged {
    /// The gateway's id of the payment; left out of an order that costs nothing, for which the
    /// gateway is not asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment: Option<Reference>,
    /// What was charged: the total of the order.
    pub amount: Money,
    pub ship_to: Destination,
    /// Pieces to ship.
    pub pieces: u64,
}
event!(PaymentCharged = "payment.charged.v1");

/// The customer did not pay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PaymentRefused {
    /// The gateway's decline code (`insufficient_funds`). Where it refused before anything was
    /// charged: its code, mostly with the parameter that it does not accept,
    /// `resource_missing (customer)`, or `amount-not-chargeable`. Or the code of the worker that
    /// refused on the step's behalf.
    pub reason: String,
}
event!(PaymentRefused = "payment.refused.v1");

/// The carrier took the parcel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ShipmentDispatched {
    /// The carrier's short name: `sandbox-post`.
    pub carrier: String,
    /// The carrier's id of the label.
    pub label: Reference,
    /// The number by which the customer follows the parcel, as the carrier writes it, if it gives
    /// one: at most 128 printable characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracking: Option<String>,
    /// Whether it goes at the flat rate, because the quote service gave no quote; left out if not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub degraded: bool,
}
event!(ShipmentDispatched = "shipment.dispatched.v1");

/// The carrier will not take the parcel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ShipmentRefused {
    /// The carrier's code (`destination_refused`).
    pub reason: String,
}
event!(ShipmentRefused = "shipment.refused.v1");

/// Everything is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct OrderCompleted {}
event!(OrderCompleted = "order.completed.v1");

/// The customer has the money back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PaymentRefunded {
    /// The gateway's id of the payment that was taken back.
    pub payment: Reference,
    /// What went back: all that was charged.
    pub amount: Money,
}
event!(PaymentRefunded = "payment.refunded.v1");

/// Nothing was charged, and nothing can be charged any longer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PaymentVoided {}
event!(PaymentVoided = "payment.voided.v1");

/// How a payment was taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PaymentUndone {
    Refunded(PaymentRefunded),
    Voided(PaymentVoided),
}
one_of!(PaymentUndone { Refunded(PaymentRefunded), Voided(PaymentVoided) });

/// The stock is free again, or was never held and never will be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct InventoryReleased {}
event!(InventoryReleased = "inventory.released.v1");

refusal!(InventoryRefused, PaymentRefused, ShipmentRefused);

/// Every event type that a client or a worker of this flow writes, in the order of this file.
pub const ALL: &[Kind] = &[
    Kind::of::<OrderPlaced>(),
    Kind::of::<InventoryReserved>(),
    Kind::of::<InventoryRefused>(),
    Kind::of::<PaymentCharged>(),
    Kind::of::<PaymentRefused>(),
    Kind::of::<ShipmentDispatched>(),
    Kind::of::<ShipmentRefused>(),
    Kind::of::<OrderCompleted>(),
    Kind::of::<PaymentRefunded>(),
    Kind::of::<PaymentVoided>(),
    Kind::of::<InventoryReleased>(),
];
