//! What one message of the log says.

use jiff::Timestamp;
use serde_json::Value;
use tests::stack::Logged;

/// An event as this fold understands it.
pub(super) struct Event {
    pub(super) sequence: u64,
    pub(super) at: i64,
    pub(super) event_type: String,
    pub(super) source: String,
    pub(super) reason: String,
    pub(super) cause: Option<u64>,
    pub(super) attempt: Option<u64>,
    /// Microseconds since 1970.
    pub(super) started: Option<i64>,
    pub(super) trace: Option<String>,
    pub(super) data: Value,
}

pub(super) fn read(message: &Logged, slot: &str, id: &str) -> Event {
    let at = message.at.as_microsecond();
    let text = std::str::from_utf8(&message.payload).unwrap();
    let document: Option<Value> = serde_json::from_str(text).ok();
    let structured = document.as_ref().filter(|document| document.get("specversion").is_some());
    let said = |name: &str| {
        let text = structured.and_then(|document| document[name].as_str());
        text.unwrap_or_default().to_owned()
    };
    // Whatever is no CloudEvent is a bare message, junk included.
    let bare = structured.is_none();
    let source = if bare { "client".to_owned() } else { said("source") };
    if let Some(subject) = structured.and_then(|document| document["subject"].as_str()) {
        assert_eq!(subject, id);
    }
    let data = structured.map_or(document.clone(), |document| Some(document["data"].clone()));
    let reason = data.as_ref().and_then(|data| data["reason"].as_str()).unwrap_or_default();
    let counted = |name: &str| structured.and_then(|document| document[name].as_u64());
    let trace = said("traceparent").get(3..35).map(str::to_owned);
    let event_type = match (bare, slot) {
        (true, "placed") => "order.placed.v1".to_owned(),
        (true, _) => String::new(),
        (false, _) => said("type"),
    };
    Event {
        sequence: message.sequence,
        at,
        event_type,
        source,
        reason: reason.to_owned(),
        cause: counted("causationseq"),
        attempt: counted("attempt"),
        started: said("startedat").parse().ok().map(|time: Timestamp| time.as_microsecond()),
        trace,
        data: data.unwrap_or_default(),
    }
}

pub(super) fn kind(slot: &str, event: &Event) -> String {
    let says = (event.source.as_str(), event.event_type.as_str());
    let known = match slot {
        "placed" => "forward",
        "refused" => return "refusal".to_owned(),
        "inventory" => match says {
            ("reserve-inventory", "inventory.reserved.v1") => "forward",
            ("reserve-inventory" | "complete-order", "inventory.refused.v1") => "refusal",
            _ => "alien",
        },
        "payment" => match says {
            ("charge-customer", "payment.charged.v1") => "forward",
            ("charge-customer" | "complete-order", "payment.refused.v1") => "refusal",
            _ => "alien",
        },
        "pivot" => match says {
            ("ship-order", "order.go.v1") => "forward",
            ("complete-order", "order.stop.v1") => "refusal",
            _ => "alien",
        },
        "shipment" => match says {
            ("ship-order", "shipment.dispatched.v1") => "forward",
            ("ship-order", "shipment.refused.v1") => "refusal",
            _ => "alien",
        },
        "closed" => match says {
            ("complete-order", "order.completed.v1") => "forward",
            ("complete-order", "order.cancelled.v1") => "undo",
            _ => "alien",
        },
        "payment-undo" => match says {
            ("charge-customer", "payment.refunded.v1" | "payment.voided.v1") => "undo",
            _ => "alien",
        },
        "inventory-undo" => match says {
            ("reserve-inventory", "inventory.released.v1") => "undo",
            _ => "alien",
        },
        _ => "forward",
    };
    known.to_owned()
}
