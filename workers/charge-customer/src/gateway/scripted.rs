//! A gateway in memory that does what a test tells it to, and remembers what it did.
//!
//! It keeps the promises of the real one: a key opens one payment, and of confirm and cancel the
//! first one wins.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use quadrille::step::StepError;
use quadrille::testing::Faults;
use quadrille::{IdempotencyKey, Reference, SagaId};
use tokio::time::Instant;

use super::{Bill, Opened, Owner, Payment, PaymentGateway, State};

/// Clones are the same gateway.
#[derive(Debug, Clone, Default)]
pub struct ScriptedGateway {
    faults: Faults,
    opening_takes: Duration,
    book: Arc<Mutex<Book>>,
}

#[derive(Debug, Default)]
struct Book {
    payments: Vec<(SagaId, Payment)>,
    opened: HashMap<IdempotencyKey, Reference>,
    declines: Option<String>,
    rejects: Option<String>,
    refuses: Option<String>,
    knows_keys: bool,
    charges: u32,
    refunds: u32,
}

impl ScriptedGateway {
    /// A gateway that is reached through `faults`, and charges every payment.
    pub fn new(faults: Faults) -> Self {
        Self { faults, ..Self::default() }
    }

    /// Opening a payment takes this long from now on, as on a machine that is suspended meanwhile.
    #[must_use]
    pub fn slow_to_open(self, opening_takes: Duration) -> Self {
        Self { opening_takes, ..self }
    }

    /// From now on every payment is declined with this code.
    #[must_use]
    pub fn declining(self, code: &str) -> Self {
        self.book().declines = Some(code.to_owned());
        self
    }

    /// From now on it rejects every request to open a payment.
    #[must_use]
    pub fn rejecting(self, why: &str) -> Self {
        self.book().rejects = Some(why.to_owned());
        self
    }

    /// From now on it says no to every order, with this code, before anything is charged.
    #[must_use]
    pub fn refusing(self, code: &str) -> Self {
        self.book().refuses = Some(code.to_owned());
        self
    }

    /// From now on it answers that every key to open a payment was used before, with other
    /// parameters.
    #[must_use]
    pub fn knowing_keys(self) -> Self {
        self.book().knows_keys = true;
        self
    }

    /// Makes it forget every idempotency key.
    pub fn forget_keys(&self) {
        self.book().opened.clear();
    }

    /// Adds a payment of this order that was made in some way unknown to the step.
    pub fn has(&self, order: &SagaId, payment: Payment) {
        self.book().payments.push((order.clone(), payment));
    }

    /// How many payments were charged.
    pub fn charges(&self) -> u32 {
        self.book().charges
    }

    /// How many charges were given back.
    pub fn refunds(&self) -> u32 {
        self.book().refunds
    }

    /// Every payment in its present state, oldest first.
    pub fn payments(&self) -> Vec<Payment> {
        self.book().payments.iter().map(|(_, payment)| payment.clone()).collect()
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().expect("no code panics while it holds the lock")
    }

    async fn once<T>(&self, act: impl FnOnce(&mut Book) -> T) -> Result<T, StepError> {
        Ok(self.faults.call(|| act(&mut self.book())).await?)
    }
}

impl Book {
    fn open(&mut self, bill: &Bill<'_>, key: IdempotencyKey) -> Opened {
        if let Some(why) = &self.rejects {
            return Opened::Rejected(why.clone());
        }
        if let Some(code) = &self.refuses {
            return Opened::Refused(code.clone());
        }
        if self.knows_keys {
            return Opened::KeyUsed;
        }
        if let Some(id) = self.opened.get(&key).cloned() {
            return Opened::Payment(self.payment(&id).clone());
        }
        let id = format!("pi_{}", self.payments.len() + 1);
        let id = Reference::parse(&id).expect("printable ASCII");
        self.opened.insert(key, id.clone());
        let payment = Payment { id, amount: bill.total, state: State::Unconfirmed };
        self.payments.push((bill.owner.order.clone(), payment.clone()));
        Opened::Payment(payment)
    }

    fn confirm(&mut self, id: &Reference) -> Payment {
        let declines = self.declines.clone();
        let payment = self.payment(id);
        if payment.state != State::Unconfirmed {
            return payment.clone();
        }
        payment.state = declines.map_or(State::Charged, State::Declined);
        let payment = payment.clone();
        self.charges += u32::from(payment.state == State::Charged);
        payment
    }

    fn cancel(&mut self, id: &Reference) -> Payment {
        let payment = self.payment(id);
        match payment.state {
            State::Unconfirmed | State::Declined(_) => payment.state = State::Cancelled,
            State::Processing | State::Charged | State::Cancelled | State::Refunded => {}
        }
        payment.clone()
    }

    fn refund(&mut self, id: &Reference) {
        let payment = self.payment(id);
        if payment.state == State::Charged {
            payment.state = State::Refunded;
            self.refunds += 1;
        }
    }

    fn payment(&mut self, id: &Reference) -> &mut Payment {
        let found = self.payments.iter_mut().map(|(_, payment)| payment).find(|it| it.id == *id);
        found.expect("the step asks for payments the gateway showed it")
    }
}

impl PaymentGateway for ScriptedGateway {
    async fn open(
        &self,
        bill: &Bill<'_>,
        key: IdempotencyKey,
        _: Instant,
    ) -> Result<Opened, StepError> {
        tokio::time::sleep(self.opening_takes).await;
        self.once(|book| book.open(bill, key)).await
    }

    async fn confirm(
        &self,
        payment: &Payment,
        _: IdempotencyKey,
        _: Instant,
    ) -> Result<Payment, StepError> {
        self.once(|book| book.confirm(&payment.id)).await
    }

    async fn cancel(
        &self,
        payment: &Payment,
        _: IdempotencyKey,
        _: Instant,
    ) -> Result<Payment, StepError> {
        self.once(|book| book.cancel(&payment.id)).await
    }

    async fn refund(
        &self,
        payment: &Payment,
        _: IdempotencyKey,
        _: Instant,
    ) -> Result<(), StepError> {
        self.once(|book| book.refund(&payment.id)).await
    }

    async fn of_order(&self, owner: &Owner<'_>, _: Instant) -> Result<Vec<Payment>, StepError> {
        let of_order = |book: &mut Book| {
            let of_order = book.payments.iter().filter(|(of, _)| of == owner.order);
            of_order.map(|(_, payment)| payment.clone()).collect()
        };
        self.once(of_order).await
    }
}
