//! Orders that end in a known way.

use schemas::order_fulfilment::events::OrderPlaced;
use serde_json::json;

/// SKUs of which there is plenty; several, because replicas that sell one SKU wait for each other.
pub const SKUS: [&str; 4] = ["ROSE-RED", "ROSE-WHITE", "TULIP", "VASE-GLASS"];

/// A SKU of which there is none.
pub const SPARSE_SKU: &str = "ROSE-BLUE";

/// How an order is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fate {
    Completes,
    /// Refused by `reserve-inventory`.
    OutOfStock,
    /// Refused by `charge-customer`.
    Declined,
    /// Refused by `ship-order`.
    NoCarrier,
}

impl Fate {
    pub const ALL: [Self; 4] = [Self::Completes, Self::OutOfStock, Self::Declined, Self::NoCarrier];

    /// The worker that refuses.
    pub fn refused_by(self) -> Option<&'static str> {
        match self {
            Self::Completes => None,
            Self::OutOfStock => Some("reserve-inventory"),
            Self::Declined => Some("charge-customer"),
            Self::NoCarrier => Some("ship-order"),
        }
    }
}

/// Three pieces for 9.60 EUR; `turn` rotates through the SKUs.
pub fn order(fate: Fate, turn: usize) -> OrderPlaced {
    let sku = if fate == Fate::OutOfStock { SPARSE_SKU } else { SKUS[turn % SKUS.len()] };
    let card = match fate {
        Fate::Declined => "pm_card_chargeDeclinedInsufficientFunds",
        Fate::Completes | Fate::OutOfStock | Fate::NoCarrier => "pm_card_visa",
    };
    let country = if fate == Fate::NoCarrier { "AQ" } else { "DE" };
    let order = json!({
        "customer": "cus_1001",
        "payment_method": card,
        "ship_to": { "country": country, "postcode": "10115" },
        "lines": [{
            "sku": sku,
            "quantity": 3,
            "unit_price": { "amount": 320, "currency": "EUR" },
        }],
    });
    serde_json::from_value(order).expect("a valid order")
}
