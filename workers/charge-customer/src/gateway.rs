//! The payment gateway, in the words of the step; the adapter and the scripted fake are beside it.
//!
//! Opening moves no money. A gateway must promise two things: one key opens one payment, and if
//! both confirm and cancel are requested, the second is answered with the state that the first one
//! left.

mod http;
mod scripted;

use std::future::Future;

use quadrille::step::StepError;
use quadrille::{IdempotencyKey, KeyNamespace, Money, Reference, SagaId};
use schemas::order_fulfilment::events::InventoryReserved;
use tokio::time::Instant;

pub use http::HttpGateway;
pub use scripted::ScriptedGateway;

/// Whose a payment is: two logs that use one account of the gateway may both have an order 1001.
#[derive(Debug, Clone, Copy)]
pub struct Owner<'a> {
    pub order: &'a SagaId,
    pub log: KeyNamespace,
}

/// What a customer owes for an order.
#[derive(Debug, Clone, Copy)]
pub struct Bill<'a> {
    pub owner: Owner<'a>,
    pub customer: &'a Reference,
    pub payment_method: &'a Reference,
    pub total: Money,
}

impl<'a> Bill<'a> {
    pub fn of(owner: Owner<'a>, reserved: &'a InventoryReserved) -> Self {
        let InventoryReserved { customer, payment_method, total, .. } = reserved;
        Self { owner, customer, payment_method, total: *total }
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
    /// The gateway works on it: it will be charged or declined, and can no longer be cancelled.
    Processing,
    Charged,
    /// The gateway said no, with its code: `insufficient_funds`. It can still be cancelled.
    Declined(String),
    /// Cancelled for good: it can no longer be charged.
    Cancelled,
    /// Charged, and all of it given back or on its way.
    Refunded,
}

/// The result of opening a payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opened {
    /// Opened now or before, in its present state.
    Payment(Payment),
    /// The gateway says no to this order, with its code, before anything is charged: it does not
    /// know the customer, or the amount is too small.
    Refused(String),
    /// The gateway never accepts this request, and says why.
    Rejected(String),
    /// The key opened a payment with other parameters, which may not be shown yet.
    KeyUsed,
}

/// A payment that is not for the requested amount. It is never charged; an undo takes it back with
/// all other payments of the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the gateway shows a payment of {shown}, but {asked} was requested")]
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

/// The payment that decides what a run does, of at least one. A payment that was taken back comes
/// before a charged one, and that comes before an undecided one; the id settles a tie, the same in
/// every replica.
pub(crate) fn decisive(payments: Vec<Payment>) -> Payment {
    let rank = |payment: &Payment| match payment.state {
        State::Cancelled | State::Refunded => 0,
        State::Charged => 1,
        State::Processing => 2,
        State::Declined(_) => 3,
        State::Unconfirmed => 4,
    };
    let first = |a: &Payment, b: &Payment| {
        rank(a).cmp(&rank(b)).then_with(|| a.id.as_str().cmp(b.id.as_str()))
    };
    payments.into_iter().min_by(first).expect("there is at least one payment")
}

/// Charges customers. Every call may be repeated under its idempotency key.
///
/// Each call fails with [`StepError::TryAgain`] when the outcome is not known or the gateway asks
/// for time, and with [`StepError::BadMessage`] when the gateway can never accept the request.
pub trait PaymentGateway: Send + Sync + 'static {
    /// Opens a payment without charging, or finds the one that this key opened.
    fn open(
        &self,
        bill: &Bill<'_>,
        key: IdempotencyKey,
        deadline: Instant,
    ) -> impl Future<Output = Result<Opened, StepError>> + Send;

    /// Charges: the payment is then [`State::Charged`], [`State::Declined`] or still
    /// [`State::Processing`], unless it was decided in another way before.
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

    /// Gives back all that was charged; also a success if that was done before. Fails, undecided,
    /// for as long as the money is on its way.
    fn refund(
        &self,
        payment: &Payment,
        key: IdempotencyKey,
        deadline: Instant,
    ) -> impl Future<Output = Result<(), StepError>> + Send;

    /// Every payment of an order. May miss what was done within the last minute.
    fn of_order(
        &self,
        owner: &Owner<'_>,
        deadline: Instant,
    ) -> impl Future<Output = Result<Vec<Payment>, StepError>> + Send;
}
