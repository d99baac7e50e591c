//! A payment as the gateway shows it.

use quadrille::Reference;
use quadrille::ids::shown;
use quadrille::step::StepError;
use serde::Deserialize;

use super::{Unclear, money};
use crate::gateway::{Owner, Payment, State};

#[derive(Debug, Deserialize)]
pub(super) struct Intent {
    id: Reference,
    amount: i64,
    currency: String,
    status: String,
    #[serde(default)]
    metadata: Metadata,
    /// The sandbox shows it here, Stripe in the charge.
    amount_refunded: Option<i64>,
    latest_charge: Option<Charge>,
    last_payment_error: Option<Decline>,
}

/// What [`Owner`] was written as.
#[derive(Debug, Default, Deserialize)]
struct Metadata {
    order: Option<String>,
    log: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Charge {
    Expanded {
        amount_refunded: i64,
    },
    /// Only its id.
    Bare(#[expect(dead_code, reason = "says no more than that there is one")] String),
}

#[derive(Debug, Deserialize)]
struct Decline {
    code: Option<String>,
    decline_code: Option<String>,
}

/// A page of a search.
#[derive(Debug, Deserialize)]
pub(super) struct Found {
    pub(super) data: Vec<Intent>,
    /// Without it nothing says that this is all, so it must be there.
    pub(super) has_more: bool,
}

impl Intent {
    /// The payment, if it is this order's.
    pub(super) fn payment_of(self, owner: &Owner<'_>) -> Result<Payment, StepError> {
        let Metadata { order, log } = &self.metadata;
        let is_ours = order.as_deref() == Some(owner.order.as_str())
            && log.as_deref() == Some(&*owner.log.to_string());
        if is_ours { self.payment() } else { Err(Unclear::OtherOrder.into()) }
    }

    pub(super) fn payment(self) -> Result<Payment, StepError> {
        let refunded = match self.latest_charge {
            Some(Charge::Expanded { amount_refunded }) => amount_refunded,
            Some(Charge::Bare(_)) | None => self.amount_refunded.unwrap_or(0),
        };
        let state = match self.status.as_str() {
            "requires_confirmation" => State::Unconfirmed,
            // No person is there to choose another card or to authenticate: both are declined.
            "requires_payment_method" => {
                State::Declined(reason(self.last_payment_error).unwrap_or(self.status))
            }
            "requires_action" => {
                let reason = reason(self.last_payment_error);
                State::Declined(reason.unwrap_or_else(|| "authentication_required".into()))
            }
            "processing" => State::Processing,
            "succeeded" if refunded >= self.amount => State::Refunded,
            "succeeded" => State::Charged,
            "canceled" => State::Cancelled,
            other => return Err(Unclear::State(shown(other, 64)).into()),
        };
        Ok(Payment { id: self.id, amount: money(self.amount, &self.currency)?, state })
    }
}

fn reason(decline: Option<Decline>) -> Option<String> {
    let Decline { code, decline_code } = decline?;
    decline_code.or(code).map(|code| shown(&code, 128))
}

/// The payment, if it is the one that was asked for.
pub(super) fn expect(shown: Payment, asked: &Payment) -> Result<Payment, StepError> {
    if shown.id == asked.id {
        return Ok(shown);
    }
    let (shown, asked) = (shown.id.to_string(), asked.id.to_string());
    Err(Unclear::OtherPayment { shown, asked }.into())
}
