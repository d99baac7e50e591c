//! Histories broken by hand: each is flagged by the invariant it breaks, and by no other.

mod history;

use jiff::Timestamp;
use quadrille::ids::Direction::{Run, Undo};
use serde_json::json;

use super::*;
use history::{History, sample, stored};

/// Whether a history that is hurt so breaks exactly these, however many parts it is read in.
#[track_caller]
fn breaks(expected: &[Invariant], hurt: impl FnOnce(&mut History)) {
    let mut history = History::sound();
    hurt(&mut history);
    for parts in [1, 3] {
        let found = history.audit(parts);
        let broken: Vec<_> = found.broken.keys().copied().collect();
        assert_eq!(broken, expected, "{:#?}", found.violations);
    }
}

#[test]
fn a_sound_history_is_sound_in_one_part_and_in_many() {
    for parts in [1, 2, 7] {
        let found = History::sound().audit(parts);
        assert_eq!(found.count(), 0, "{:#?}", found.violations);
        assert_eq!((found.orders, found.completed, found.cancelled), (2, 1, 1));
        assert_eq!((found.messages, found.effects), (15, 7));
    }
}

#[test]
fn what_the_log_may_not_hold_breaks_its_invariant() {
    breaks(&[Invariant::Slots], |it| {
        let again = it.message("orders.closed.done").clone();
        it.log.push(Stored { sequence: it.log.len() as u64 + 1, ..again });
    });
    breaks(&[Invariant::Slots], |it| it.log.last_mut().unwrap().sequence += 1);
    breaks(&[Invariant::Contract], |it| it.change("orders.closed.done", "id", json!("another")));
    breaks(&[Invariant::Contract], |it| {
        it.log.push(stored("orders.a.b.c".into(), it.log.len() + 1, &json!({})));
    });
    breaks(&[Invariant::Contract], |it| {
        it.log.push(stored("orders.hack.done".into(), it.log.len() + 1, &json!({})));
    });
    breaks(&[Invariant::Causes], |it| it.change("orders.closed.done", "causationseq", json!(99)));
    breaks(&[Invariant::Causes], |it| it.change("orders.closed.far", "causationid", json!("x")));
}

#[test]
fn an_order_that_ends_as_it_may_not_breaks_its_invariant() {
    breaks(&[Invariant::Ending], |it| it.lose("orders.closed.far"));
    breaks(&[Invariant::Completed], |it| it.release("done", "shipment"));
    breaks(&[Invariant::Completed, Invariant::Parcels], |it| it.lose("orders.pivot.done"));
    breaks(&[Invariant::Causes, Invariant::Cancelled], |it| it.lose("orders.inventory-undo.far"));
    breaks(&[Invariant::Causes, Invariant::Cancelled], |it| it.lose("orders.refused.far"));
}

#[test]
fn a_wish_to_cancel_may_say_anything_and_its_refusal_may_not() {
    let refuse = |it: &mut History, order: &str, by: &str| {
        let refused = FLOW.cancels().unwrap().refused;
        it.log.push(stored(format!("orders.cancel.{order}"), it.log.len() + 1, &json!({})));
        it.tell(order, refused.slot, (refused.event, by), "cancel", json!({ "reason": "no" }));
    };
    breaks(&[], |it| refuse(it, "done", "complete-order"));
    breaks(&[], |it| refuse(it, "never", "complete-order"));
    breaks(&[Invariant::Contract], |it| refuse(it, "done", "mallory"));
    breaks(&[Invariant::Causes], |it| {
        refuse(it, "done", "complete-order");
        it.change("orders.cancel-refused.done", "causationseq", json!(99));
    });
}

#[test]
fn stock_that_does_not_add_up_breaks_its_invariant() {
    let hold = |it: &mut History, order: &str, released: bool| {
        let subject = format!("stock.hold.{order}");
        let at = it.stock.iter().position(|message| message.subject == subject).unwrap();
        let payload = json!({ "pieces": sample().1, "released": released });
        it.stock[at] = stored(subject, at + 1, &payload);
    };
    breaks(&[Invariant::Stock], |it| hold(it, "far", false));
    breaks(&[Invariant::Stock], |it| hold(it, "done", true));
    breaks(&[], |it| it.ship("done", true));
    breaks(&[Invariant::Stock], |it| it.ship("done", false));
    breaks(&[Invariant::Stock], |it| {
        let level = json!({ "sku": "GHOST", "stocked": 10, "free": 9 });
        it.stock.push(stored("stock.sku.GHOST".into(), it.stock.len() + 1, &level));
    });
}

#[test]
fn what_the_outside_world_did_otherwise_breaks_its_invariant() {
    breaks(&[Invariant::Money], |it| it.line("done", "captured")["amount"] = json!(1));
    breaks(&[Invariant::Money], |it| it.line("done", "captured")["currency"] = json!("usd"));
    breaks(&[Invariant::Money, Invariant::Recorded], |it| {
        it.ledger.retain(|line| line["effect"] != "refunded");
    });
    breaks(&[Invariant::Money, Invariant::Effects], |it| {
        let again = it.line("done", "captured").clone();
        it.ledger.push(again);
    });
    breaks(&[Invariant::Effects], |it| it.line("done", "captured")["key"] = json!("mine"));
    breaks(&[Invariant::Effects], |it| {
        let mut stranger = it.line("done", "intent-created").clone();
        stranger["order"] = json!("unknown");
        it.ledger.push(stranger);
    });
    breaks(&[Invariant::Parcels, Invariant::Effects], |it| {
        // One request has one effect, so this is its second too.
        it.effect("far", "label-bought", ("ship-order", Run, "label"));
    });
    breaks(&[Invariant::Parcels], |it| {
        it.line("done", "label-bought")["at"] = json!(Timestamp::UNIX_EPOCH.to_string());
    });
    breaks(&[Invariant::Recorded], |it| it.line("done", "label-bought")["label"] = json!("x"));
    let unasked = |it: &mut History| it.ledger.retain(|one| one["effect"] != "destination-refused");
    breaks(&[Invariant::Recorded], unasked);
    breaks(&[], |it| {
        unasked(it);
        it.change("orders.shipment.far", "data", json!({ "reason": "discarded" }));
    });
}

#[test]
fn a_payment_that_is_refused_before_any_charge_needs_no_line_in_the_ledger() {
    let before = ["resource_missing (customer)", "resource_missing (payment_method)"];
    let before = before.into_iter().chain(["amount_too_small (amount)", "amount-not-chargeable"]);
    // The gateway need not name a parameter.
    let before = before.chain(["payment_method_not_available"]);
    for reason in before {
        breaks(&[], |it| it.refuse_payment("poor", reason));
        // A charge that was given back was a charge.
        breaks(&[Invariant::Recorded], |it| {
            it.refuse_payment("poor", reason);
            it.effect("poor", "captured", ("charge-customer", Run, "confirm"));
            it.effect("poor", "refunded", ("charge-customer", Undo, "refund pi_poor"));
        });
    }
    let declined = ["insufficient_funds", "authentication_required"];
    for reason in declined.into_iter().chain(["x (y)", "(customer)", " (customer)", "x ()", ""]) {
        breaks(&[Invariant::Recorded], |it| it.refuse_payment("poor", reason));
    }
    breaks(&[], |it| {
        it.refuse_payment("poor", "insufficient_funds");
        it.effect("poor", "intent-created", ("charge-customer", Run, "create"));
        it.effect("poor", "declined", ("charge-customer", Run, "confirm"));
    });
}

#[test]
fn a_parked_message_without_its_bytes_breaks_its_invariant() {
    let parked = |it: &mut History, payload: &str, reason: &str| {
        it.lose("orders.closed.far");
        let trigger = it.message("orders.inventory-undo.far").sequence;
        let entry = json!({ "reason": reason, "sequence": trigger, "payload_base64": payload });
        it.parked.push(stored("parked.orders.complete-order.far".into(), 1, &entry));
    };
    let bytes = |it: &mut History| {
        use base64::Engine;
        it.lose("orders.closed.far");
        let bytes = it.message("orders.inventory-undo.far").payload.clone();
        base64::engine::general_purpose::STANDARD.encode(bytes)
    };
    breaks(&[], |it| {
        let payload = bytes(&mut it.clone());
        parked(it, &payload, "not-json");
    });
    breaks(&[Invariant::Ending, Invariant::Parked], |it| parked(it, "e30=", "not-json"));
    breaks(&[Invariant::Ending, Invariant::Parked], |it| parked(it, "", ""));
}
