//! One payment intent: its serialized form is the JSON that clients see and the journal keeps.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A well-formed request for an intent.
#[derive(Debug)]
pub(crate) struct NewIntent {
    /// Minor units, above zero.
    pub(crate) amount: u64,
    /// Three lower-case letters.
    pub(crate) currency: String,
    pub(crate) customer: Option<String>,
    pub(crate) payment_method: String,
    pub(crate) metadata: BTreeMap<String, String>,
    /// Confirm in the same request.
    pub(crate) confirm: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Intent {
    pub(crate) id: String,
    object: Object,
    pub(crate) amount: u64,
    pub(crate) amount_received: u64,
    /// Not in Stripe's intent, where the charge has it. Saves clients a second look-up.
    pub(crate) amount_refunded: u64,
    /// Seconds since 1970.
    created: i64,
    pub(crate) currency: String,
    customer: Option<String>,
    metadata: BTreeMap<String, String>,
    pub(crate) payment_method: String,
    pub(crate) status: Status,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    RequiresConfirmation,
    /// Declined: another payment method may be tried.
    RequiresPaymentMethod,
    /// Confirmed, and not decided yet.
    Processing,
    Succeeded,
    Canceled,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Object {
    PaymentIntent,
}

impl Intent {
    pub(crate) fn new(new: &NewIntent, now: Timestamp) -> Self {
        Self {
            id: new_id("pi_"),
            object: Object::PaymentIntent,
            amount: new.amount,
            amount_received: 0,
            amount_refunded: 0,
            created: now.as_second(),
            currency: new.currency.clone(),
            customer: new.customer.clone(),
            metadata: new.metadata.clone(),
            payment_method: new.payment_method.clone(),
            status: Status::RequiresConfirmation,
        }
    }

    pub(crate) fn order(&self) -> Option<&str> {
        self.metadata.get("order").map(String::as_str)
    }

    pub(crate) fn can_be_confirmed(&self) -> bool {
        match self.status {
            Status::RequiresConfirmation => true,
            Status::RequiresPaymentMethod
            | Status::Processing
            | Status::Succeeded
            | Status::Canceled => false,
        }
    }

    /// Only an intent that is still open takes another payment method.
    pub(crate) fn replace_payment_method(&mut self, payment_method: &str) {
        match self.status {
            Status::RequiresConfirmation | Status::RequiresPaymentMethod => {
                payment_method.clone_into(&mut self.payment_method);
                self.status = Status::RequiresConfirmation;
            }
            Status::Processing | Status::Succeeded | Status::Canceled => {}
        }
    }
}

/// A new random id, unique across restarts and seeds.
pub(crate) fn new_id(prefix: &str) -> String {
    format!("{prefix}{}", Uuid::new_v4().simple())
}
