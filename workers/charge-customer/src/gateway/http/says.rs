//! What the gateway says when it does not do what it is asked: no to the order, that our request is
//! wrong, or nothing that decides anything.

use quadrille::http::Answer;
use quadrille::ids::shown;
use quadrille::step::StepError;
use schemas::order_fulfilment::refusal;

use super::KEYS;

/// What the gateway repeats for as long as the key lives, though it says nothing of the request.
pub(super) fn is_saved_failure(answer: &Answer) -> bool {
    answer.replayed && answer.status.is_server_error()
}

/// The gateway's no to this order, in its own words: nothing is charged, and asking again does not
/// help. `None` for every other answer.
pub(super) fn no_of(answer: &Answer) -> Option<String> {
    let (status, field) = (answer.status.as_u16(), |name| answer.error_field(name));
    let (code, param) = (field("code"), field("param"));
    let of_the_order = param.as_deref().is_some_and(refusal::is_of_the_order);
    let is_no = match status {
        402 => answer.is_the_services_own(),
        400 | 404 | 422 => of_the_order || code.as_deref().is_some_and(refusal::is_no),
        _ => false,
    };
    let word = field("decline_code").or(code).or(field("type"));
    let reason = match (word, param) {
        (Some(word), Some(param)) if status != 402 => refusal::naming(&word, &param),
        (Some(word), _) => word,
        (None, Some(param)) => param,
        (None, None) => answer.status.as_str().to_owned(),
    };
    is_no.then(|| shown(&reason, 128))
}

/// Whether the payment's state no longer allows the request.
pub(super) fn is_about_the_state(answer: &Answer) -> bool {
    answer.status == 400 && answer.code() == "payment_intent_unexpected_state"
}

/// Whether the key was used before, with other parameters.
pub(super) fn is_about_the_key(answer: &Answer) -> bool {
    answer.error_field("type").as_deref() == Some("idempotency_error")
}

/// A read of what the gateway itself has shown: it cannot be our mistake.
pub(super) fn not_shown(answer: &Answer) -> StepError {
    match answer.failure() {
        StepError::BadMessage(why) => StepError::try_again(Unclear::NotShown(why)),
        error => error,
    }
}

/// Answers of the gateway with which the step cannot go on.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unclear {
    #[error("the gateway saved a failure of its own under each of {KEYS} keys")]
    KeysUsedUp,
    #[error("the gateway does not show what it has shown before: {0}")]
    NotShown(String),
    #[error("the gateway shows a payment in a state that decides nothing: {0}")]
    State(String),
    #[error("the gateway shows a payment in an unknown currency")]
    Currency,
    #[error("the gateway shows {0} in {1}, which is no whole amount of minor units")]
    Amount(i64, &'static str),
    #[error("the gateway answers with the payment {shown}, but {asked} was asked for")]
    OtherPayment { shown: String, asked: String },
    #[error("the gateway answers with a payment of another order")]
    OtherOrder,
    #[error("the gateway has more payments or refunds than it shows")]
    TooMany,
    #[error("the gateway works on the refund")]
    RefundPending,
    #[error("the gateway did not carry out the refund")]
    NotRefunded,
}
