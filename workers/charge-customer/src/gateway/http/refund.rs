//! What has gone back of a payment. A refund that is on its way may still fail, so the money is not
//! back before the gateway says so.

use quadrille::ids::shown;
use quadrille::step::StepError;
use serde::Deserialize;

use super::{Unclear, money};
use crate::gateway::Payment;

#[derive(Debug, Deserialize)]
pub(super) struct Refund {
    status: String,
    amount: i64,
    currency: String,
    payment_intent: Option<String>,
}

/// A page of them.
#[derive(Debug, Deserialize)]
pub(super) struct Refunds {
    data: Vec<Refund>,
    /// Without it nothing says that this is all, so it must be there.
    has_more: bool,
}

/// How much of a payment has gone back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Returned {
    /// Not all of it, and the rest is not on its way.
    Nothing,
    /// The rest is on its way.
    Underway,
    All,
}

impl Refund {
    /// Whether it has given all of the payment back.
    pub(super) fn is_all_of(&self, payment: &Payment) -> Result<bool, StepError> {
        Ok(self.amount_of(payment)? >= payment.amount.amount && self.status == "succeeded")
    }

    fn amount_of(&self, payment: &Payment) -> Result<i64, StepError> {
        let of = self.payment_intent.as_deref().unwrap_or_default();
        if of != payment.id.as_str() {
            let shown = shown(of, 128);
            return Err(Unclear::OtherPayment { shown, asked: payment.id.to_string() }.into());
        }
        let money = money(self.amount, &self.currency)?;
        if money.currency != payment.amount.currency {
            return Err(Unclear::Currency.into());
        }
        Ok(money.amount)
    }
}

impl Refunds {
    pub(super) fn of(&self, payment: &Payment) -> Result<Returned, StepError> {
        if self.has_more {
            return Err(Unclear::TooMany.into());
        }
        let (mut back, mut underway) = (0_i64, 0_i64);
        for refund in &self.data {
            let sum = match refund.status.as_str() {
                "succeeded" => &mut back,
                "pending" | "requires_action" => &mut underway,
                _ => continue,
            };
            *sum = sum.saturating_add(refund.amount_of(payment)?);
        }
        let all = payment.amount.amount;
        Ok(match back.saturating_add(underway) {
            _ if back >= all => Returned::All,
            sum if sum >= all => Returned::Underway,
            _ => Returned::Nothing,
        })
    }
}
