//! The payment gateway, in the words of the step; the adapter and the scripted fake lie beside it.
//!
//! Opening moves no money. What a gateway must promise: one key opens one payment, and of confirm
//! and cancel the second to come is told the state that the first one left.

mod http;
mod scripted;

use std::future::Future;

use quadrille::ids::Reference;
use quadrille::step::StepError;
use quadrille::{IdempotencyKey, Money, SagaId};
use schemas::order_fulfilment::events::InventoryReserved;
use tokio::time::Instant;

pub use http::HttpGateway;
pub use scripted::ScriptedGateway;

/// What a customer owes for an order.
#[derive(Debug, Clone, Copy)]
pub struct Bill<'a> {
    pub order: &'a SagaId,
    pub customer: &'a Reference,
    pub payment_method: &'a Reference,
    pub total: Money,
}

impl<'a> Bill<'a> {
    pub fn of(order: &'a SagaId, reserved: &'a InventoryReserved) -> Self {
        let InventoryReserved { customer, payment_method, total, .. } = reserved;
        Self { order, customer, payment_method, total: *total }
    }
}

/// One payment as the gateway shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payment {
    pub id: Reference,
    pub amount: Money,
    pub state: State,
}

/// How far a payment has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// No money has moved; it waits for confirm or cancel.
    Unconfirmed,
    Charged,
    /// With the gateway's code: `insufficient_funds`. It can still be cancelled.
    Declined(String),
    /// For good: nothing can be charged by it any more.
    Cancelled,
    /// Charged, and all of it given back.
    Refunded,
}

/// What came of opening a payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opened {
    /// Opened now or before; if before, the state may be the one it had then.
    Payment(Payment),
    /// The gateway never takes this request, and says why.
    Rejected(String),
    /// The key opened something with other parameters; it may not be shown yet.
    KeyUsed,
}

/// A payment that is not for the amount it was asked for. It is never charged; an undo takes it
/// back with all that the order has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the gateway shows a payment of {shown}, where {asked} was asked for")]
pub struct OtherAmount {
    shown: Money,
    asked: Money,
}

impl Payment {
    /// # Errors
    /// [`OtherAmount`], before anything is charged by mistake.
    pub fn must_be_for(&self, asked: Money) -> Result<(), OtherAmount> {
        let shown = self.amount;
        if shown == asked { Ok(()) } else { Err(OtherAmount { shown, asked }) }
    }
}

/// The payment that decides what a run does, of at least one: what was taken back comes before what
/// was charged, and that before what is undecided; the id settles a tie, the same in every replica.
pub(crate) fn decisive(payments: Vec<Payment>) -> Payment {
    let rank = |payment: &Payment| match payment.state {
        State::Cancelled | State::Refunded => 0,
        State::Charged => 1,
        State::Declined(_) => 2,
        State::Unconfirmed => 3,
    };
    let first = |a: &Payment, b: &Payment| {
        rank(a).cmp(&rank(b)).then_with(|| a.id.as_str().cmp(b.id.as_str()))
    };
    payments.into_iter().min_by(first).expect("there is at least one payment")
}

/// Charges customers. Every call may be repeated under its key.
///
/// All of them fail with [`StepError::TryAgain`] when the outcome is not known or the gateway asks
/// for time, and with [`StepError::BadMessage`] when it can never take the request.
pub trait PaymentGateway: Send + Sync + 'static {
    /// Opens a payment without charging, or finds the one this key opened.
    fn open(
        &self,
        bill: &Bill<'_>,
        key: IdempotencyKey,
        deadline: Instant,
    ) -> impl Future<Output = Result<Opened, StepError>> + Send;

    /// Charges: the payment is then [`State::Charged`] or [`State::Declined`], or was decided
    /// otherwise before.
    fn confirm(
        &self,
        payment: &Payment,
        key: IdempotencyKey,
        deadline: Instant,
    ) -> impl Future<Output = Result<Payment, StepError>> + Send;

    /// Makes sure that nothing will be charged: [`State::Cancelled`], or what it was before.
    fn cancel(
        &self,
        payment: &Payment,
        key: IdempotencyKey,
        deadline: Instant,
    ) -> impl Future<Output = Result<Payment, StepError>> + Send;

    /// Gives back all that was charged; a success too if that was done before.
    fn refund(
        &self,
        payment: &Reference,
        key: IdempotencyKey,
        deadline: Instant,
    ) -> impl Future<Output = Result<(), StepError>> + Send;

    /// Every payment of an order in its present state. May miss one opened within the last minute.
    fn of_order(
        &self,
        order: &SagaId,
        deadline: Instant,
    ) -> impl Future<Output = Result<Vec<Payment>, StepError>> + Send;
}
