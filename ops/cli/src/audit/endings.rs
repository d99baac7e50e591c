//! Where an order may end, and what it must have done and taken back on the way.

use quadrille::flow::Row;
use schemas::order_fulfilment::FLOW;

use super::fold::Order;
use super::verdict::{Invariant, Verdict};

/// Checks an order; one that is still open only where all is at rest.
pub(super) fn check(id: &str, order: &Order, at_rest: bool, found: &mut Verdict) {
    let is_unopened = !order.is_closed() && !order.told.contains_key(FLOW.opens.slot);
    found.orders += u64::from(!is_unopened);
    if order.completed() {
        found.completed += 1;
        completed(id, order, found);
    } else if order.cancelled() {
        found.cancelled += 1;
        cancelled(id, order, found);
    } else if is_unopened {
        // What is there belongs to no order: other invariants say what is wrong with it.
        found.unopened += 1;
    } else {
        found.open += 1;
        found.parked += u64::from(order.parked);
        let slots: Vec<_> = order.told.keys().copied().collect();
        let what = || format!("neither closed nor parked; it has {}", slots.join(", "));
        found.demand(order.parked || !at_rest, Invariant::Ending, id, what);
    }
}

fn done(order: &Order, row: &Row) -> bool {
    order.event(row.slot, row.done).is_some()
}

fn completed(id: &str, order: &Order, found: &mut Verdict) {
    for row in FLOW.steps {
        let what = || format!("completed without {}", row.done);
        found.demand(done(order, row), Invariant::Completed, id, what);
        if let Some(pivot) = row.pivot {
            let went = order.event(pivot.slot, pivot.go).is_some();
            let what = || format!("completed without {}", pivot.go);
            found.demand(went, Invariant::Completed, id, what);
        }
        if let Some(undo) = row.undo {
            let undone = order.told.contains_key(undo.slot);
            let what = || format!("completed, and yet {} is written", undo.slot);
            found.demand(!undone, Invariant::Completed, id, what);
        }
    }
}

/// The row at which it turned around; a stop turns it before its step.
fn turned_at(order: &Order) -> Option<usize> {
    FLOW.steps.iter().position(|row| {
        let stopped = row.pivot.is_some_and(|pivot| order.event(pivot.slot, pivot.stop).is_some());
        stopped || row.refused.is_some_and(|refused| order.event(row.slot, refused).is_some())
    })
}

fn cancelled(id: &str, order: &Order, found: &mut Verdict) {
    let Some(turned) = turned_at(order) else {
        let what = "cancelled, and nobody refused or stopped it".to_owned();
        return found.add(Invariant::Cancelled, Some(id), what);
    };
    for (at, row) in FLOW.steps.iter().enumerate() {
        let what = || match at < turned {
            true => format!("turned around behind {}, which it has not", row.done),
            false => format!("turned around at {}, and yet {}", FLOW.steps[turned].slot, row.done),
        };
        found.demand(done(order, row) == (at < turned), Invariant::Cancelled, id, what);
    }
    let signal = order.told.contains_key(FLOW.turns.slot);
    found.demand(signal, Invariant::Cancelled, id, || "cancelled without the signal".to_owned());
    undone_in_reverse(id, order, turned, found);
}

fn undone_in_reverse(id: &str, order: &Order, turned: usize, found: &mut Verdict) {
    let mut before: Option<(&str, u64)> = None;
    for (at, row) in FLOW.steps.iter().enumerate().rev() {
        let Some(undo) = row.undo else { continue };
        let told = order.told.get(undo.slot);
        let what = || match at > turned {
            true => format!("{} is written, and the order never came so far", undo.slot),
            false => format!("cancelled without {}", undo.slot),
        };
        found.demand(told.is_some() == (at <= turned), Invariant::Cancelled, id, what);
        let Some(told) = told else { continue };
        if let Some((later, sequence)) = before {
            let what = || format!("{} is taken back before {later}", undo.slot);
            found.demand(sequence < told.sequence, Invariant::Cancelled, id, what);
        }
        before = Some((undo.slot, told.sequence));
    }
    let closed = order.told.get(FLOW.closing().slot).map(|told| told.sequence);
    let last = before.map(|(_, sequence)| sequence) < closed;
    found.demand(last, Invariant::Cancelled, id, || "cancelled before all was taken back".into());
}
