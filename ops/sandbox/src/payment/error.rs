//! The errors of the payment service, in Stripe's shape.

use serde_json::json;

use crate::answer::Answer;
use crate::cards::DeclinedCard;
use crate::intent::Intent;

/// A request that is wrong in itself. Never saved under its key.
pub(crate) fn invalid(param: &str, code: &str, message: &str) -> Answer {
    invalid_request(400, param, code, message)
}

pub(super) fn no_such_intent(id: &str) -> Answer {
    let message = format!("No such payment_intent: '{id}'");
    invalid_request(404, "payment_intent", "resource_missing", &message)
}

fn invalid_request(status: u16, param: &str, code: &str, message: &str) -> Answer {
    let error = json!({
        "type": "invalid_request_error", "code": code, "param": param, "message": message
    });
    Answer::new(status, &json!({ "error": error }))
}

/// The intent's status no longer allows the request; the answer holds the intent.
pub(super) fn unexpected_state(intent: &Intent) -> Answer {
    let error = json!({
        "type": "invalid_request_error",
        "code": "payment_intent_unexpected_state",
        "message": "the status of the payment intent does not allow this",
        "payment_intent": intent,
    });
    Answer::new(400, &json!({ "error": error }))
}

pub(super) fn declined(card: DeclinedCard, intent: &Intent) -> Answer {
    let error = json!({
        "type": "card_error",
        "code": card.code,
        "decline_code": card.decline_code,
        "message": "Your card was declined.",
        "payment_intent": intent,
    });
    Answer::new(402, &json!({ "error": error }))
}

pub(super) fn already_refunded(intent: &Intent) -> Answer {
    let error = json!({
        "type": "invalid_request_error",
        "code": "charge_already_refunded",
        "message": "all that was captured has been refunded",
        "payment_intent": intent,
    });
    Answer::new(400, &json!({ "error": error }))
}

pub(super) fn refund_too_large(amount: u64, held: u64) -> Answer {
    let message = format!("a refund of {amount} is more than the {held} still held");
    invalid("amount", "amount_too_large", &message)
}
