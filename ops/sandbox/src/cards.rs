//! The payment methods the sandbox knows. Their names and codes are those of Stripe's test cards,
//! so that an adapter written against the sandbox meets nothing new at the real gateway.

/// Payment methods whose confirmation succeeds.
pub const ACCEPTED_CARDS: [&str; 3] = ["pm_card_visa", "pm_card_mastercard", "pm_card_amex"];

/// A payment method whose confirmation decides nothing: the payment stays `processing`.
/// Stripe has such methods (bank debits), but no such test card.
pub const PROCESSING_CARD: &str = "pm_card_processing";

/// The only customer that the sandbox does not know.
pub const UNKNOWN_CUSTOMER: &str = "cus_unknown";

/// A payment method whose confirmation is declined with status 402.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeclinedCard {
    /// What the client sends as `payment_method`.
    pub payment_method: &'static str,
    /// `error.code` of the answer.
    pub code: &'static str,
    /// `error.decline_code` of the answer.
    pub decline_code: &'static str,
}

/// Payment methods whose confirmation is declined, each for its own reason.
pub const DECLINED_CARDS: [DeclinedCard; 5] = [
    declined("pm_card_chargeDeclined", "card_declined", "generic_decline"),
    declined("pm_card_chargeDeclinedInsufficientFunds", "card_declined", "insufficient_funds"),
    declined("pm_card_chargeDeclinedLostCard", "card_declined", "lost_card"),
    declined("pm_card_chargeDeclinedExpiredCard", "expired_card", "expired_card"),
    // The bank wants the customer to authenticate, and nobody is there to do it.
    declined(
        "pm_card_authenticationRequired",
        "authentication_required",
        "authentication_required",
    ),
];

/// Payment methods that no confirmation ever gets past: the service fails for them alone, each time
/// with this status.
pub const BROKEN_CARDS: [(&str, u16); 3] =
    [("pm_card_broken500", 500), ("pm_card_broken403", 403), ("pm_card_broken429", 429)];

const fn declined(
    payment_method: &'static str,
    code: &'static str,
    decline_code: &'static str,
) -> DeclinedCard {
    DeclinedCard { payment_method, code, decline_code }
}

/// The decline that awaits this payment method, if it is one of [`DECLINED_CARDS`].
pub(crate) fn decline_of(payment_method: &str) -> Option<DeclinedCard> {
    DECLINED_CARDS.into_iter().find(|card| card.payment_method == payment_method)
}

/// The status of the failure that awaits this payment method, if it is one of [`BROKEN_CARDS`].
pub(crate) fn failure_of(payment_method: &str) -> Option<u16> {
    BROKEN_CARDS.into_iter().find(|(name, _)| *name == payment_method).map(|(_, status)| status)
}

pub(crate) fn is_known(payment_method: &str) -> bool {
    ACCEPTED_CARDS.contains(&payment_method)
        || payment_method == PROCESSING_CARD
        || decline_of(payment_method).is_some()
        || failure_of(payment_method).is_some()
}
