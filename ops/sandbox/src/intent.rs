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
    /// Why the last confirmation was declined.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) last_payment_error: Option<Declined>,
    /// When one that is `processing` succeeds, if it ever does.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) succeeds: Option<Later>,
    /// Oldest first. Not in Stripe's intent: a client lists them.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub(crate) refunds: Vec<Refund>,
}

/// Something that happens by itself, and the key that it was asked for with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Later {
    pub(crate) at: Timestamp,
    pub(crate) key: String,
}

/// A decline as the intent shows it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Declined {
    pub(crate) code: String,
    pub(crate) decline_code: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Refund {
    id: String,
    object: RefundObject,
    pub(crate) amount: u64,
    currency: String,
    payment_intent: String,
    pub(crate) status: RefundStatus,
    /// When one that is `pending` ends, and how.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) ends: Option<(Later, RefundStatus)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RefundStatus {
    Pending,
    Succeeded,
    Failed,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum RefundObject {
    Refund,
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
            last_payment_error: None,
            succeeds: None,
            refunds: Vec::new(),
        }
    }

    /// A refund of this intent, which `ends` by itself or has succeeded.
    pub(crate) fn refund(&self, amount: u64, ends: Option<(Later, RefundStatus)>) -> Refund {
        let status = match ends {
            Some(_) => RefundStatus::Pending,
            None => RefundStatus::Succeeded,
        };
        Refund {
            id: new_id("re_"),
            object: RefundObject::Refund,
            amount,
            currency: self.currency.clone(),
            payment_intent: self.id.clone(),
            status,
            ends,
        }
    }

    /// Whether something is still to happen to it by itself.
    pub(crate) fn waits(&self) -> bool {
        self.succeeds.is_some() || self.refunds.iter().any(|refund| refund.ends.is_some())
    }

    pub(crate) fn order(&self) -> Option<&str> {
        self.metadata.get("order").map(String::as_str)
    }

    pub(crate) fn log(&self) -> Option<&str> {
        self.metadata.get("log").map(String::as_str)
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
