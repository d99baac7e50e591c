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
use schemas::order_fulfilment::events::{
    InventoryReserved, PaymentCharged, PaymentRefunded, PaymentRefused, PaymentUndone,
    PaymentVoided,
};
use serde::{Deserialize, Serialize};

use gateway::{Bill, Opened, Owner, Payment, PaymentGateway, State};

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The URL below which the gateway's paths begin; `/v1/payment_intents` is added. Without it
    /// the worker does not start.
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
            url: String::new(),
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
        let (ship_to, pieces) = (reserved.ship_to.clone(), reserved.pieces);
        if reserved.total.is_zero() {
            let (payment, amount) = (None, reserved.total);
            return Ok(Outcome::Done(PaymentCharged { payment, amount, ship_to, pieces }));
        }
        let was_young = context.age() < self.key_lifetime;
        let mut payment = match self.payments(reserved, context).await? {
            Payments::Known(payments) => gateway::decisive(payments),
            Payments::Refused(reason) => return Ok(Outcome::Refused(PaymentRefused { reason })),
            Payments::NoneEver(why) => return Err(StepError::BadMessage(why)),
        };
        if was_young && context.age() >= self.key_lifetime {
            // The machine slept meanwhile: this may be a second payment, beside one that another
            // replica has charged. Not confirmed, it moves no money.
            return Err(StepError::local("the gateway may have forgotten the key meanwhile"));
        }
        payment.must_be_for(reserved.total)?;
        if payment.state == State::Unconfirmed {
            let key = context.key("confirm");
            payment = self.gateway.confirm(&payment, key, context.deadline()).await?;
            payment.must_be_for(reserved.total)?;
        }
        match payment.state {
            State::Charged => Ok(Outcome::Done(PaymentCharged {
                payment: Some(payment.id),
                amount: payment.amount,
                ship_to,
                pieces,
            })),
            State::Declined(reason) => Ok(Outcome::Refused(PaymentRefused { reason })),
            State::Cancelled | State::Refunded => Err(StepError::Superseded),
            State::Processing => Err(StepError::undecided(Processing)),
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
        if reserved.total.is_zero() {
            return Ok(Self::never_ran());
        }
        match evidence {
            Evidence::Recorded(PaymentCharged { payment: None, .. }) => Ok(Self::never_ran()),
            Evidence::Recorded(PaymentCharged { payment: Some(id), amount, .. }) => {
                let payment = Payment { id: id.clone(), amount: *amount, state: State::Charged };
                self.refund(&payment, context).await
            }
            Evidence::Unknown => match self.payments(reserved, context).await? {
                Payments::Known(payments) => self.take_back(payments, context).await,
                Payments::Refused(_) | Payments::NoneEver(_) => Ok(Self::never_ran()),
            },
        }
    }

    fn never_ran() -> PaymentUndone {
        PaymentUndone::Voided(PaymentVoided {})
    }
}

/// The gateway has taken the charge and does not know yet what becomes of it.
#[derive(Debug, thiserror::Error)]
#[error("the gateway has not decided yet")]
struct Processing;

/// What the gateway has for an order.
enum Payments {
    /// At least one.
    Known(Vec<Payment>),
    /// The gateway says no to the order, with this reason, and has nothing for it.
    Refused(String),
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
    /// what the gateway has for the order is read first.
    async fn payments(
        &self,
        reserved: &InventoryReserved,
        context: &StepContext,
    ) -> Result<Payments, StepError> {
        let owner = Owner { order: context.saga_id(), log: context.log() };
        let deadline = context.deadline();
        if context.age() >= self.key_lifetime {
            let known = self.gateway.of_order(&owner, deadline).await?;
            if !known.is_empty() {
                return Ok(Payments::Known(known));
            }
        }
        let bill = Bill::of(owner, reserved);
        let none = match self.gateway.open(&bill, context.run_key("create"), deadline).await? {
            Opened::Payment(payment) => return Ok(Payments::Known(vec![payment])),
            Opened::Refused(reason) => Ok(Payments::Refused(reason)),
            Opened::Rejected(why) => Ok(Payments::NoneEver(why)),
            // There is a payment: going on without it could leave it charged.
            Opened::KeyUsed => {
                Err(StepError::try_again("the payment of this key is not shown yet"))
            }
        };
        let known = self.gateway.of_order(&owner, deadline).await?;
        if known.is_empty() { none } else { Ok(Payments::Known(known)) }
    }

    /// Takes each payment back as it is now: cancels what can still be charged, and refunds what
    /// was, also where the cancel comes too late.
    async fn take_back(
        &self,
        payments: Vec<Payment>,
        context: &StepContext,
    ) -> Result<PaymentUndone, StepError> {
        let mut undone = Self::never_ran();
        for payment in payments {
            let payment = match payment.state {
                State::Unconfirmed | State::Declined(_) => {
                    let key = context.key(&format!("cancel {}", payment.id));
                    self.gateway.cancel(&payment, key, context.deadline()).await?
                }
                State::Processing | State::Charged | State::Cancelled | State::Refunded => payment,
            };
            match payment.state {
                State::Cancelled => {}
                State::Charged | State::Refunded => undone = self.refund(&payment, context).await?,
                // It can no longer be cancelled, and not yet be refunded.
                State::Processing => return Err(StepError::undecided(Processing)),
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
        payment: &Payment,
        context: &StepContext,
    ) -> Result<PaymentUndone, StepError> {
        let key = context.key(&format!("refund {}", payment.id));
        self.gateway.refund(payment, key, context.deadline()).await?;
        let (payment, amount) = (payment.id.clone(), payment.amount);
        Ok(PaymentUndone::Refunded(PaymentRefunded { payment, amount }))
    }
}
