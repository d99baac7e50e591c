//! Charges the customer for an order, and gives the money back.
//!
//! A payment is opened first and charged by a second request. That is the fence: an undo that does
//! not know what a run did, or is about to do, opens the payment under the run's own key, which
//! finds the run's or takes its place, and cancels it. Whichever of confirm and cancel comes second
//! is told so by the gateway.

pub mod gateway;

use std::time::Duration;

use quadrille::Money;
use quadrille::http::Secret;
use quadrille::ids::Reference;
use quadrille::step::{Evidence, Outcome, Step, StepContext, StepError, Undo};
use schemas::order_fulfilment::events::{
    InventoryReserved, PaymentCharged, PaymentRefunded, PaymentRefused, PaymentUndone,
    PaymentVoided,
};
use serde::Deserialize;

use gateway::{Bill, Opened, Payment, PaymentGateway, State};

#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Where the gateway's paths begin; `/v1/payment_intents` is added.
    pub url: String,
    /// Sent as a bearer token, if there is one.
    pub secret: Option<Secret>,
    /// Longest wait for one answer of the gateway.
    #[serde(with = "quadrille::config::duration")]
    pub timeout: Duration,
    /// The gateway surely remembers an idempotency key this long. Stripe promises 24 h; an hour is
    /// left for requests on their way.
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

/// What the gateway has of an order.
enum Payments {
    /// At least one.
    Known(Vec<Payment>),
    /// It rejects the run's request, has nothing of the order, and says why.
    NoneEver(String),
}

impl<Gateway: PaymentGateway> ChargeCustomer<Gateway> {
    pub fn new(gateway: Gateway, settings: &Settings) -> Self {
        Self { gateway, key_lifetime: settings.key_lifetime }
    }

    /// Every payment of the order, opened here if there is none: run and undo meet in it.
    ///
    /// Once the gateway may have forgotten the run's key, opening could make a second payment, so
    /// what it has of the order comes first. A payment found by its key may be shown in an old
    /// state; confirm and cancel tell the true one.
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
                    // There is a payment: to go on without it could leave it charged.
                    return Err(StepError::try_again("the payment of this key is not shown yet"));
                }
                Ok(Payments::Known(known))
            }
        }
    }

    /// Cancels each payment, and refunds the one for which that came too late.
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

    /// Gives all of it back. One key a payment, for whatever evidence, so that no two undos refund
    /// twice.
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
