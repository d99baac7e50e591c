//! Compares the sandbox's ledger with the log: every effect has an idempotency key that follows
//! from its order, and a cause; everything recorded has happened.

use std::collections::{BTreeMap, HashSet};

use quadrille::ids::Direction::{self, Run, Undo};
use quadrille::{IdempotencyKey, KeyNamespace};
use schemas::order_fulfilment::FLOW;

use super::story::Story;
use super::{Effect, Findings, History, Rule};

/// What a step asks of an outside system.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Request {
    pub(super) worker: &'static str,
    pub(super) direction: Direction,
    /// Within the step.
    pub(super) name: String,
}

impl Request {
    pub(super) fn of(worker: &'static str, direction: Direction, name: impl Into<String>) -> Self {
        Self { worker, direction, name: name.into() }
    }
}

/// Which request an effect comes from.
fn request(effect: &Effect) -> Option<Request> {
    let intent = effect.intent.as_deref().unwrap_or_default();
    match effect.effect.as_str() {
        // An undo that does not know what happened opens the payment as the run would.
        "intent-created" => Some(Request::of("charge-customer", Run, "create")),
        "captured" | "declined" => Some(Request::of("charge-customer", Run, "confirm")),
        "canceled" => Some(Request::of("charge-customer", Undo, format!("cancel {intent}"))),
        "refunded" => Some(Request::of("charge-customer", Undo, format!("refund {intent}"))),
        "label-bought" | "destination-refused" => Some(Request::of("ship-order", Run, "label")),
        _ => None,
    }
}

/// The event that must be in the log before an effect of this kind.
fn before(effect: &Effect) -> Option<(&'static str, &'static str)> {
    match effect.effect.as_str() {
        "intent-created" | "captured" | "declined" => Some(("inventory", "inventory.reserved.v1")),
        "canceled" => Some(("payment", "payment.refused.v1")),
        "label-bought" | "destination-refused" => Some(("pivot", "order.go.v1")),
        _ => None,
    }
}

pub(super) fn keys(log: KeyNamespace, story: &Story<'_>, found: &mut Findings) {
    let mut seen = HashSet::new();
    for effect in &story.effects {
        let name = &effect.effect;
        let Some(request) = request(effect) else {
            // A refund above what is held, which the sandbox had to refuse.
            found.demand(false, Rule::Money, story, format!("the ledger has {name}"));
            continue;
        };
        let Request { worker, direction, name: within } = &request;
        let key = IdempotencyKey::derive(log, FLOW.saga, &story.id, worker, *direction, within);
        // A gateway that saved its own failure under a key is asked again under a further one.
        let further = effect.key.strip_prefix(&key.to_string());
        let number = further.and_then(|rest| rest.strip_prefix('-')).map(str::parse::<u32>);
        let known = further == Some("") || matches!(number, Some(Ok(2..)));
        let what = format!("{name} has the key {}, which nothing derives", effect.key);
        found.demand(known, Rule::OneEffectPerKey, story, what);
        let what = format!("{name} is the second effect of {worker}, {within}");
        let first = seen.insert(request);
        found.demand(first, Rule::OneEffectPerKey, story, what);
        caused(story, effect, found);
    }
}

fn caused(story: &Story<'_>, effect: &Effect, found: &mut Findings) {
    let Some((slot, event_type)) = before(effect) else { return };
    // Both times are of this machine: the broker's and the sandbox's clock are one.
    let in_time = story.event(slot, event_type).is_some_and(|told| told.at <= effect.at);
    let rule = match effect.label {
        Some(_) => Rule::Parcel,
        None => Rule::OneEffectPerKey,
    };
    let what = format!("{} before there was {event_type}", effect.effect);
    found.demand(in_time, rule, story, what);
}

/// Everything that the log says was done was done.
pub(super) fn recorded(story: &Story<'_>, found: &mut Findings) {
    let mut demand = |slot: &str, event_type: &str, field: &str, effects: &[&str]| {
        let Some(told) = story.event(slot, event_type) else { return };
        let worker = FLOW.decides(slot).map(|row| row.worker);
        if worker.is_some_and(|worker| worker != told.source) {
            // Another worker refused on the step's behalf: the step need not have done anything.
            return;
        }
        if told.data["reason"] == "discarded" {
            // An operator gave it up, so the outside world was not asked.
            return;
        }
        if event_type == "payment.charged.v1" && told.data["amount"]["amount"] == 0 {
            // Nothing was owed, so the gateway was not asked.
            return;
        }
        let named = told.data[field].as_str();
        let happened = story.effects.iter().any(|effect| {
            effects.contains(&effect.effect.as_str())
                && (field.is_empty()
                    || named == effect.intent.as_deref().or(effect.label.as_deref()))
        });
        let what = format!("{event_type} is recorded, and the ledger has no {}", effects.join("/"));
        found.demand(happened, Rule::Recorded, story, what);
    };
    demand("payment", "payment.charged.v1", "payment", &["captured"]);
    demand("payment", "payment.refused.v1", "", &["declined"]);
    demand("payment-undo", "payment.refunded.v1", "payment", &["refunded"]);
    demand("shipment", "shipment.dispatched.v1", "label", &["label-bought"]);
    demand("shipment", "shipment.refused.v1", "", &["destination-refused"]);
    let parcels = story.effects_of("label-bought").count();
    let what = format!(
        "{parcels} parcels, and it is {}completed",
        if story.completed() { "" } else { "not " }
    );
    found.demand(parcels == usize::from(story.completed()), Rule::Parcel, story, what);
}

/// Effects of orders that the log does not know.
pub(super) fn strangers(
    history: &History,
    stories: &BTreeMap<String, Story<'_>>,
    found: &mut Findings,
) {
    for Effect { effect, order, .. } in &history.ledger {
        if !order.as_ref().is_some_and(|order| stories.contains_key(order)) {
            let what = format!("{effect} for {order:?}, which was never placed");
            found.add(Rule::OneEffectPerKey, what);
        }
    }
}
