//! The words of a payment that is refused before anything is charged. The worker writes them, and
//! the audit reads them, because no ledger has a line of such a payment.

/// An amount that no gateway can take, so that none is asked: a fraction of the smallest that it
/// charges.
pub const NOT_CHARGEABLE: &str = "amount-not-chargeable";

/// The gateway's parameters whose values come from the order. About another one, the gateway says
/// that our request is wrong.
const OF_THE_ORDER: [&str; 4] = ["amount", "currency", "customer", "payment_method"];

/// Without a parameter, the code of a decline as well, of which the sandbox has a line.
const OF_A_DECLINE: &str = "authentication_required";

/// Codes by which the gateway says no to this payment, whatever parameter it names.
const NOES: [&str; 5] = [
    "amount_too_large",
    "amount_too_small",
    OF_A_DECLINE,
    "invalid_charge_amount_no_decimal_compatible",
    "payment_intent_incompatible_payment_method",
];

pub fn is_of_the_order(parameter: &str) -> bool {
    OF_THE_ORDER.contains(&parameter)
}

/// Whether the gateway says no to this payment with this code, `amount_too_small`.
pub fn is_no(code: &str) -> bool {
    NOES.contains(&code) || code.starts_with("payment_method_")
}

/// A code with the parameter that the gateway does not accept: `resource_missing (customer)`.
pub fn naming(code: &str, parameter: &str) -> String {
    format!("{code} ({parameter})")
}

/// Whether a reason is that of a payment that is refused before anything is charged, so that no
/// ledger need have a line of it.
pub fn is_before_any_charge(reason: &str) -> bool {
    let named = reason.strip_suffix(')').and_then(|reason| reason.rsplit_once(" ("));
    let (code, parameter) = named.unwrap_or((reason, reason));
    let is_no_of_the_order = is_no(code) || !code.is_empty() && is_of_the_order(parameter);
    reason == NOT_CHARGEABLE || reason != OF_A_DECLINE && is_no_of_the_order
}
