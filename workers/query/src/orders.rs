//! The read model of the order saga: what an order is found by, and what a list shows of it. All
//! that is special about orders on the read side is in this file; copy it for another saga.

use std::collections::BTreeSet;

use quadrille_projection::sagas::{self, Shown};
use quadrille_projection::{Happened, ReadModel, Rows};
use schemas::order_fulfilment::events::{OrderPlaced, PaymentCharged, ShipmentDispatched};

use crate::view::{Filter, Verb, View};

/// Orders, as people look at them.
pub static ORDERS: View = View {
    many: "orders",
    model: ReadModel {
        name: "orders",
        version: 3,
        readable_from: 1,
        tables: &[sagas::TABLES, FOR_PEOPLE],
        indexes: &[sagas::INDEXES],
        apply,
    },
    filters: &[
        Filter {
            name: "customer",
            about: "The customer's reference",
            example: "cus_1001",
            reads: any,
        },
        Filter { name: "sku", about: "A SKU of one of the lines", example: "ROSE-RED", reads: any },
        Filter {
            name: "country",
            about: "Where it goes: ISO 3166-1 alpha-2",
            example: "DE",
            reads: country,
        },
    ],
    stock: true,
    verbs: &[
        Verb {
            name: "place",
            about: "Place an order",
            of_one: None,
            sample: include_str!("../../../schemas/samples/order_fulfilment/placed.v1.json"),
        },
        Verb { name: "cancel", about: "Cancel this order", of_one: Some("order_id"), sample: "" },
    ],
};

/// For those who open the file with `sqlite3 -readonly`.
const FOR_PEOPLE: &str = "
CREATE VIEW orders AS SELECT
  saga AS id, state, waits_for, reason, refused_at,
  details ->> 'customer' AS customer, details ->> 'amount' AS amount,
  details ->> 'currency' AS currency,
  datetime(opened_at / 1000000, 'unixepoch') AS placed_at,
  datetime(changed_at / 1000000, 'unixepoch') AS changed_at
FROM sagas;
";

fn any(text: &str) -> Option<String> {
    Some(text.to_owned())
}

/// Two letters, which orders have in upper case.
fn country(text: &str) -> Option<String> {
    let is_code = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_alphabetic());
    is_code.then(|| text.to_ascii_uppercase())
}

fn apply(happened: &Happened<'_>, rows: &mut Rows) {
    let mut shown = Shown::default();
    let read = match happened.event_type() {
        Some("order.placed.v1") => happened.read().map(|order| placed(&order, &mut shown)),
        Some("payment.charged.v1") => happened.read().map(|charged: PaymentCharged| {
            if let Some(payment) = &charged.payment {
                shown.found_by("payment", payment.as_str());
            }
        }),
        Some("shipment.dispatched.v1") => happened.read().map(|sent: ShipmentDispatched| {
            shown.found_by("label", sent.label.as_str());
            if let Some(tracking) = &sent.tracking {
                shown.found_by("tracking", tracking);
                shown.detail("tracking", tracking.as_str());
            }
        }),
        Some(_) | None => Ok(()),
    };
    if let Err(bad) = read {
        rows.skip(bad);
    }
    sagas::apply(happened, shown, rows);
}

fn placed(order: &OrderPlaced, shown: &mut Shown) {
    shown.tag("customer", order.customer.as_str());
    shown.detail("customer", order.customer.as_str());
    let skus: BTreeSet<_> = order.lines.iter().map(|line| line.sku.as_str()).collect();
    for sku in skus {
        shown.tag("sku", sku);
    }
    shown.tags.push(("country", order.ship_to.country.clone()));
    shown.detail("pieces", order.pieces());
    // An order whose total overflows is set aside by its first worker.
    if let Ok(total) = order.total() {
        shown.detail("amount", total.amount);
        shown.detail("currency", total.currency.to_string());
    }
}
