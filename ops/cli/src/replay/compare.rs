//! Whether an order ended as the log says, and where it first differs.

use std::collections::BTreeMap;

use schemas::order_fulfilment::FLOW;
use schemas::order_fulfilment::refusal::NOT_CHARGEABLE;
use serde_json::Value;

use super::stage::has_reason;
use super::tale::{Tale, Told};

/// What services draw anew each time, and what depends on which of them were up.
const DRAWN: [&str; 5] = ["payment", "label", "tracking", "carrier", "degraded"];

/// Where an order first differs.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Difference {
    pub(super) slot: String,
    /// What the log has there.
    pub(super) recorded: Option<Told>,
    /// What the replay has there.
    pub(super) now: Option<Told>,
}

/// The first difference in the order of the log; `None` if it ended in the same way, or if the log
/// ends before the order does.
pub(super) fn compare(tale: &Tale, now: &BTreeMap<String, Told>) -> Option<Difference> {
    let mut recorded: Vec<_> = tale.events.iter().collect();
    recorded.sort_by_key(|(_, told)| told.sequence);
    let mut more: Vec<_> =
        now.iter().filter(|(slot, _)| !tale.events.contains_key(*slot)).collect();
    more.sort_by_key(|(_, told)| told.sequence);
    let slots = recorded.into_iter().chain(more).map(|(slot, _)| slot);
    let found = slots.map(|slot| (slot, tale.events.get(slot), now.get(slot)));
    let mut differ = found.filter(|(slot, recorded, now)| counts(tale, slot, *recorded, *now));
    let (slot, recorded, now) = differ.next()?;
    Some(Difference { slot: slot.clone(), recorded: recorded.cloned(), now: now.cloned() })
}

/// Whether what the log and what the replay has in a slot counts as a difference.
pub(super) fn counts(tale: &Tale, slot: &str, recorded: Option<&Told>, now: Option<&Told>) -> bool {
    decides(slot)
        && match (recorded, now) {
            (Some(recorded), Some(now)) => differ(recorded, now),
            (Some(_), None) => true,
            // Where the log ends within the story, the replay may go further.
            (None, Some(_)) => tale.is_closed(),
            (None, None) => false,
        }
}

/// Whether a slot holds a decision of a step. A signal only wakes, and any writer will do.
fn decides(slot: &str) -> bool {
    FLOW.steps.iter().any(|row| {
        row.slot == slot
            || row.undo.is_some_and(|undo| undo.slot == slot)
            || row.pivot.is_some_and(|pivot| pivot.slot == slot)
    })
}

/// Refusals whose reason is an outside service's.
const OF_A_SERVICE: [&str; 2] = ["payment.refused.v1", "shipment.refused.v1"];

fn differ(recorded: &Told, now: &Told) -> bool {
    // Where the sandbox stands in with a reason of its own, only that it refuses must be the same;
    // not where the worker itself refused, then or now.
    let is_foreign = OF_A_SERVICE.contains(&&*recorded.event_type)
        && recorded.reason() != NOT_CHARGEABLE
        && !has_reason(recorded.reason())
        && has_reason(now.reason());
    let reason: &[&str] = if is_foreign { &["reason"] } else { &[] };
    recorded.event_type != now.event_type
        || lasting(&recorded.data, reason) != lasting(&now.data, reason)
}

/// The fields that must be the same each time, without `others`. Card and destination may stand in
/// for the real ones.
fn lasting(data: &Value, others: &[&str]) -> Value {
    let mut data = data.clone();
    if let Some(fields) = data.as_object_mut() {
        for drawn in DRAWN.iter().chain(&["payment_method", "ship_to"]).chain(others) {
            fields.remove(*drawn);
        }
    }
    data
}

#[cfg(test)]
mod tests {
    use quadrille::SagaId;
    use quadrille::broker::Stored;
    use serde_json::json;

    use super::*;

    fn told(sequence: u64, event_type: &str, data: Value) -> Told {
        let source = "x".to_owned();
        Told { sequence, event_type: event_type.to_owned(), source, data }
    }

    fn tale(events: &[(&str, Told)]) -> Tale {
        let placed = Stored {
            subject: "orders.placed.A1".into(),
            sequence: 1,
            stored_at: jiff::Timestamp::UNIX_EPOCH,
            headers: Vec::new(),
            payload: Vec::new().into(),
        };
        Tale { id: SagaId::parse("A1").unwrap(), placed, events: by_slot(events) }
    }

    fn by_slot(events: &[(&str, Told)]) -> BTreeMap<String, Told> {
        events.iter().map(|(slot, told)| ((*slot).to_owned(), told.clone())).collect()
    }

    #[test]
    fn what_a_service_draws_makes_no_difference_and_what_a_worker_decides_does() {
        let charged = |amount: u64, payment: &str| {
            let data = json!({ "payment": payment, "amount": amount });
            ("payment", told(3, "payment.charged.v1", data))
        };
        let closed = ("closed", told(9, "order.completed.v1", json!({})));
        let recorded = tale(&[charged(5, "pi_1"), closed.clone()]);
        let same = by_slot(&[charged(5, "pi_2"), closed.clone()]);
        assert_eq!(compare(&recorded, &same), None);
        let dearer = compare(&recorded, &by_slot(&[charged(6, "pi_1"), closed.clone()])).unwrap();
        assert_eq!(
            (dearer.slot.as_str(), dearer.now.unwrap().data["amount"].as_u64()),
            ("payment", Some(6))
        );
        let shorter = compare(&recorded, &by_slot(&[charged(5, "pi_1")])).unwrap();
        assert_eq!((shorter.slot.as_str(), shorter.now), ("closed", None));
    }

    #[test]
    fn what_counts_as_no_difference_is_not_marked_as_one() {
        let dispatched = |label: &str| told(7, "shipment.dispatched.v1", json!({ "label": label }));
        let signal = told(8, "order.refused.v1", json!({}));
        let closed = ("closed", told(9, "order.completed.v1", json!({})));
        let recorded = tale(&[("shipment", dispatched("lbl_1")), closed]);
        let (one, other) = (dispatched("lbl_1"), dispatched("lbl_2"));
        assert!(!counts(&recorded, "shipment", Some(&one), Some(&other)), "a service draws it");
        assert!(!counts(&recorded, "refused", None, Some(&signal)), "a signal decides nothing");
        assert!(counts(&recorded, "shipment", Some(&one), Some(&signal)));
        assert!(
            counts(&recorded, "payment", None, Some(&one))
                && !counts(&tale(&[]), "payment", None, Some(&one))
        );
    }

    #[test]
    fn a_reason_that_the_sandbox_cannot_give_is_no_difference_and_one_that_it_can_is() {
        let refused = |reason: &str| told(3, "payment.refused.v1", json!({ "reason": reason }));
        let recorded = tale(&[]);
        for (was, now, is_one) in [
            ("resource_missing (customer)", "generic_decline", false),
            ("do_not_honor", "generic_decline", false),
            ("insufficient_funds", "generic_decline", true),
            ("authentication_required", "generic_decline", true),
            ("amount-not-chargeable", "generic_decline", true),
            ("do_not_honor", "amount-not-chargeable", true),
        ] {
            let (was, now) = (refused(was), refused(now));
            assert_eq!(counts(&recorded, "payment", Some(&was), Some(&now)), is_one, "{was:?}");
        }
        let own = |reason: &str| told(2, "inventory.refused.v1", json!({ "reason": reason }));
        assert!(counts(&recorded, "inventory", Some(&own("a")), Some(&own("b"))), "it is ours");
    }

    #[test]
    fn the_first_difference_in_the_order_of_the_log_is_told() {
        let refused = ("inventory", told(2, "inventory.refused.v1", json!({ "reason": "a" })));
        let closed = |kind: &str| ("closed", told(9, kind, json!({})));
        let recorded = tale(&[refused.clone(), closed("order.cancelled.v1")]);
        let other = ("inventory", told(2, "inventory.refused.v1", json!({ "reason": "b" })));
        let found = compare(&recorded, &by_slot(&[other, closed("order.completed.v1")])).unwrap();
        assert_eq!(found.slot, "inventory");
        let more = ("payment", told(5, "payment.charged.v1", json!({})));
        let all = [refused, more, closed("order.cancelled.v1")];
        let found = compare(&recorded, &by_slot(&all)).unwrap();
        assert_eq!((found.slot.as_str(), found.recorded), ("payment", None));
    }

    #[test]
    fn where_the_log_ends_within_the_story_the_replay_may_go_further() {
        let reserved = ("inventory", told(2, "inventory.reserved.v1", json!({})));
        let closed = ("closed", told(9, "order.completed.v1", json!({})));
        let recorded = tale(std::slice::from_ref(&reserved));
        assert_eq!(compare(&recorded, &by_slot(&[reserved, closed])), None);
    }
}
