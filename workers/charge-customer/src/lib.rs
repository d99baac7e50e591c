//! Charges the customer for an order, and gives the money back.
//!
//! The first request opens a payment, the second charges it. That makes a fence possible: an undo
//! that does not know what a run did, or is about to do, opens the payment under the run's own
//! idempotency key. That finds the run's payment or takes its place, and then the undo cancels it.
//! Confirm and cancel cannot both succeed: the gateway answers the second one with the state that
//! the first one left.

pub mod gateway;

use std::time::Duration;

use quadrille::http::Secret;
use quadrille::step::{Evidence, Outcome, Step, StepContext, StepError, Undo};
use quadrille::{Money, Reference};
use schemas::order_fulfilment::events::{
    InventoryReserved, PaymentCharged, PaymentRefunded, PaymentRefused, PaymentUndone,
    PaymentVoided,
};
use serde::Deserialize;

use gateway::{Bill, Opened, Payment, PaymentGateway, State};

#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The URL below which the gateway's paths begin; `/v1/payment_intents` is added.
    pub url: String,
    /// Sent as a bearer token, if there is one.
    pub secret: Option<Secret>,
    /// Longest wait for one answer of the gateway.
    #[serde(with = "quadrille::config::duration")]
    pub timeout: Duration,
    /// How long the gateway surely remembers an idempotency key. Stripe promises 24 h; an hour of
    /// that is left for requests on their way.
    #[serde(with = "quadrille::config::duration")]
    pub key_lifetime: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            url: "http://127.0.0.1:8080/payment".into(),
            secret: None,
            timeout: Duration::from_secs(2),
            key_lifetime: Duration::from_secs(23 * 60 * 60),
        }
    }
}

/// The step and what it depends on.
#[derive(Debug)]
pub struct ChargeCustomer<Gateway> {
    gateway: Gateway,
    key_lifetime: Duration,
}

impl<Gateway: PaymentGateway> Step for ChargeCustomer<Gateway> {
    type On = InventoryReserved;
    type Done = PaymentCharged;
    type Refused = PaymentRefused;

    async fn run(
        &self,
        reserved: &InventoryReserved,
        context: &StepContext,
    ) -> Result<Outcome<PaymentCharged, PaymentRefused>, StepError> {
        let mut payment = match self.payments(reserved, context).await? {
            Payments::Known(payments) => gateway::decisive(payments),
            Payments::NoneEver(why) => return Err(StepError::BadMessage(why)),
        };
        payment.must_be_for(reserved.total)?;
        if payment.state == State::Unconfirmed {
            let key = context.key("confirm");
            payment = self.gateway.confirm(&payment, key, context.deadline()).await?;
            payment.must_be_for(reserved.total)?;
        }
        match payment.state {
            State::Charged => Ok(Outcome::Done(PaymentCharged {
                payment: payment.id,
                amount: payment.amount,
                ship_to: reserved.ship_to.clone(),
                pieces: reserved.pieces,
            })),
            State::Declined(reason) => Ok(Outcome::Refused(PaymentRefused { reason })),
            State::Cancelled | State::Refunded => Err(StepError::Superseded),
            State::Unconfirmed => Err(StepError::try_again("the gateway did not confirm")),
        }
    }
}

impl<Gateway: PaymentGateway> Undo for ChargeCustomer<Gateway> {
    type Undone = PaymentUndone;

    async fn undo(
        &self,
        reserved: &InventoryReserved,
        evidence: Evidence<&PaymentCharged>,
        context: &StepContext,
    ) -> Result<PaymentUndone, StepError> {
        match evidence {
            Evidence::Recorded(charged) => {
                self.refund(charged.payment.clone(), charged.amount, context).await
            }
            Evidence::Unknown => match self.payments(reserved, context).await? {
                Payments::Known(payments) => self.take_back(payments, context).await,
                Payments::NoneEver(_) => Ok(Self::never_ran()),
            },
        }
    }

    fn never_ran() -> PaymentUndone {
        PaymentUndone::Voided(PaymentVoided {})
    }
}

/// What the gateway has for an order.
enum Payments {
    /// At least one.
    Known(Vec<Payment>),
    /// The gateway rejects the run's request, has nothing for the order, and says why.
    NoneEver(String),
}

impl<Gateway: PaymentGateway> ChargeCustomer<Gateway> {
    pub fn new(gateway: Gateway, settings: &Settings) -> Self {
        Self { gateway, key_lifetime: settings.key_lifetime }
    }

    /// Every payment of the order; opens one if there is none, so that run and undo meet in it.
    ///
    /// Once the gateway may have forgotten the run's key, opening could make a second payment, so
    /// what the gateway has for the order is read first. A payment found by its key may be shown in
    /// an old state; confirm and cancel return the true one.
    async fn payments(
        &self,
        reserved: &InventoryReserved,
        context: &StepContext,
    ) -> Result<Payments, StepError> {
        let (order, deadline) = (context.saga_id(), context.deadline());
        if context.age() >= self.key_lifetime {
            let known = self.gateway.of_order(order, deadline).await?;
            if !known.is_empty() {
                return Ok(Payments::Known(known));
            }
        }
        let bill = Bill::of(order, reserved);
        match self.gateway.open(&bill, context.run_key("create"), deadline).await? {
            Opened::Payment(payment) => Ok(Payments::Known(vec![payment])),
            Opened::Rejected(why) => {
                let known = self.gateway.of_order(order, deadline).await?;
                Ok(if known.is_empty() { Payments::NoneEver(why) } else { Payments::Known(known) })
            }
            Opened::KeyUsed => {
                let known = self.gateway.of_order(order, deadline).await?;
                if known.is_empty() {
                    // There is a payment: going on without it could leave it charged.
                    return Err(StepError::try_again("the payment of this key is not shown yet"));
                }
                Ok(Payments::Known(known))
            }
        }
    }

    /// Cancels each payment, and refunds it if the cancel came too late.
    async fn take_back(
        &self,
        payments: Vec<Payment>,
        context: &StepContext,
    ) -> Result<PaymentUndone, StepError> {
        let mut undone = Self::never_ran();
        for payment in payments {
            let key = context.key(&format!("cancel {}", payment.id));
            let payment = self.gateway.cancel(&payment, key, context.deadline()).await?;
            match payment.state {
                State::Cancelled => {}
                State::Charged => undone = self.refund(payment.id, payment.amount, context).await?,
                State::Refunded => undone = refunded(payment.id, payment.amount),
                State::Unconfirmed | State::Declined(_) => {
                    return Err(StepError::try_again("the gateway did not cancel"));
                }
            }
        }
        Ok(undone)
    }

    /// Gives back the whole amount. Each payment has one key, with either evidence, so that two
    /// undos never refund twice.
    async fn refund(
        &self,
        payment: Reference,
        amount: Money,
        context: &StepContext,
    ) -> Result<PaymentUndone, StepError> {
        let key = context.key(&format!("refund {payment}"));
        self.gateway.refund(&payment, key, context.deadline()).await?;
        Ok(refunded(payment, amount))
    }
}

fn refunded(payment: Reference, amount: Money) -> PaymentUndone {
    PaymentUndone::Refunded(PaymentRefunded { payment, amount })
}
