//! The outside world's own account of what happened, against the log: money, parcels, keys.

use std::collections::BTreeSet;

use jiff::Timestamp;
use quadrille::ids::Direction::{self, Run, Undo};
use quadrille::{IdempotencyKey, KeyNamespace, SagaId};
use schemas::order_fulfilment::FLOW;
use schemas::order_fulfilment::refusal::is_before_any_charge;
use serde::Deserialize;

use super::fold::Order;
use super::verdict::{Invariant, Verdict};

/// A line of the sandbox's ledger.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Effect {
    pub(super) at: Timestamp,
    pub(super) effect: String,
    pub(super) order: Option<String>,
    pub(super) key: String,
    pub(super) amount: Option<u64>,
    pub(super) currency: Option<String>,
    pub(super) intent: Option<String>,
    pub(super) label: Option<String>,
    /// Perhaps after the end of the log was looked up, so its cause may be behind that end.
    #[serde(skip)]
    pub(super) late: bool,
}

/// Which request of which step an effect comes from.
fn request(effect: &Effect) -> Option<(&'static str, Direction, String)> {
    let intent = effect.intent.as_deref().unwrap_or_default();
    let (worker, direction, name) = match effect.effect.as_str() {
        // An undo that does not know what happened opens the payment as the run would.
        "intent-created" => ("charge-customer", Run, "create".to_owned()),
        "captured" | "declined" => ("charge-customer", Run, "confirm".to_owned()),
        "canceled" => ("charge-customer", Undo, format!("cancel {intent}")),
        "refunded" => ("charge-customer", Undo, format!("refund {intent}")),
        "label-bought" | "destination-refused" => ("ship-order", Run, "label".to_owned()),
        _ => return None,
    };
    Some((worker, direction, name))
}

/// The event that must be in the log before an effect.
fn cause(effect: &str) -> Option<(&'static str, &'static str, Invariant)> {
    match effect {
        "intent-created" | "captured" | "declined" => {
            Some(("inventory", "inventory.reserved.v1", Invariant::Effects))
        }
        "canceled" => Some(("payment", "payment.refused.v1", Invariant::Effects)),
        "label-bought" | "destination-refused" => {
            Some(("pivot", "order.go.v1", Invariant::Parcels))
        }
        _ => None,
    }
}

/// All that the ledger says of one order.
/// Without the log's namespace nothing says which key follows from an order.
pub(super) fn check(id: &str, order: &Order, keys: Option<KeyNamespace>, found: &mut Verdict) {
    effects(id, order, keys, found);
    money(id, order, found);
    if order.is_closed() {
        recorded(id, order, found);
        let parcels = count(order, "label-bought");
        let due = usize::from(order.completed());
        let what = || format!("{parcels} parcels, and {due} are due");
        found.demand(parcels == due, Invariant::Parcels, id, what);
    }
}

fn count(order: &Order, name: &str) -> usize {
    order.effects.iter().filter(|effect| effect.effect == name).count()
}

fn effects(id: &str, order: &Order, keys: Option<KeyNamespace>, found: &mut Verdict) {
    let mut seen = BTreeSet::new();
    for effect in &order.effects {
        let Effect { effect: name, key, .. } = effect;
        let Some((worker, direction, within)) = request(effect) else {
            let what = format!("the ledger has {name}");
            found.add(Invariant::Money, Some(id), what);
            continue;
        };
        let derives = keys.zip(SagaId::parse(id).ok()).is_none_or(|(keys, saga)| {
            let derived =
                IdempotencyKey::derive(keys, FLOW.saga, &saga, worker, direction, &within);
            // A gateway that saved its own failure under a key is asked again under a further one.
            let further = key.strip_prefix(&derived.to_string());
            let number = further.and_then(|rest| rest.strip_prefix('-')).map(str::parse::<u32>);
            further == Some("") || matches!(number, Some(Ok(2..)))
        });
        let what = || format!("{name} has the key {key}, which does not follow from the order");
        found.demand(derives, Invariant::Effects, id, what);
        let first = seen.insert((worker, direction.as_str(), within.clone()));
        let what = || format!("{name} is the second effect of {worker}, {within}");
        found.demand(first, Invariant::Effects, id, what);
        if let Some((slot, event_type, invariant)) = cause(name).filter(|_| !effect.late) {
            let told = order.event(slot, event_type);
            let what = || format!("{name} before there was {event_type}");
            found.demand(told.is_some_and(|told| told.at <= effect.at), invariant, id, what);
        }
    }
}

fn money(id: &str, order: &Order, found: &mut Verdict) {
    let sum = |name: &str| -> u64 {
        let of_this = order.effects.iter().filter(|effect| effect.effect == name);
        of_this.filter_map(|effect| effect.amount).fold(0, u64::saturating_add)
    };
    let (captured, refunded) = (sum("captured"), sum("refunded"));
    let captures = count(order, "captured");
    let what = || format!("{captures} captures");
    found.demand(captures <= 1, Invariant::Money, id, what);
    let what = || format!("{refunded} refunded of {captured} captured");
    found.demand(refunded <= captured, Invariant::Money, id, what);
    let Some((price, currency)) = &order.price else {
        let what = || format!("{captured} captured for an order that cannot be read");
        return found.demand(captures == 0, Invariant::Money, id, what);
    };
    let held = captured.saturating_sub(refunded);
    let due = if order.completed() { price.unsigned_abs() } else { 0 };
    let what = || format!("{held} held, {due} due");
    found.demand(!order.is_closed() || held == due, Invariant::Money, id, what);
    let mut currencies = order.effects.iter().filter_map(|effect| effect.currency.as_ref());
    let what = || format!("money in another currency than {currency}");
    found.demand(currencies.all(|used| used == currency), Invariant::Money, id, what);
}

/// What the log says was done was done.
fn recorded(id: &str, order: &Order, found: &mut Verdict) {
    let all = [
        ("payment", "payment.charged.v1", "captured", "charge-customer"),
        ("payment", "payment.refused.v1", "declined", "charge-customer"),
        ("payment-undo", "payment.refunded.v1", "refunded", "charge-customer"),
        ("shipment", "shipment.dispatched.v1", "label-bought", "ship-order"),
        ("shipment", "shipment.refused.v1", "destination-refused", "ship-order"),
    ];
    for (slot, event_type, name, worker) in all {
        // Where another worker refused on the step's behalf, the step need not have done anything.
        let Some(told) = order.event(slot, event_type).filter(|told| told.source == worker) else {
            continue;
        };
        // Where an operator gave the message up, nobody was asked.
        let reason = told.reason.as_deref().unwrap_or_default();
        // Where the payment was refused before any charge, no ledger has a line of it.
        let uncharged = name == "declined" && count(order, "captured") == 0;
        if reason == "discarded" || uncharged && is_before_any_charge(reason) {
            continue;
        }
        // Where nothing was owed, the gateway was not asked.
        let free = name == "captured" && order.price.as_ref().is_some_and(|(price, _)| *price == 0);
        let happened = free
            || order.effects.iter().filter(|effect| effect.effect == name).any(|effect| {
                let named = effect.label.as_ref().or(effect.intent.as_ref());
                told.effect.is_none() || told.effect.as_ref() == named
            });
        let why = told.reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
        let what = || {
            format!("{event_type}{why} is recorded, and the ledger has no line \"{name}\" of it")
        };
        found.demand(happened, Invariant::Recorded, id, what);
    }
}
