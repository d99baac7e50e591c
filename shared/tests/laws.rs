//! A law that no step can break proves nothing: each is broken here on purpose, by a step with one
//! thing wrong, and the step with nothing wrong obeys them all.

#![expect(clippy::unwrap_used, reason = "in a test a panic is a finding")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use quadrille::step::{Evidence, Outcome, Step, StepContext, StepError, Undo};
use quadrille::testing::laws::{self, Effects, World};
use quadrille::testing::{Faults, Injected};
use quadrille::{Currency, IdempotencyKey, Money};
use schemas::order_fulfilment::events::{
    Destination, InventoryReserved, PaymentCharged, PaymentRefused, PaymentUndone, PaymentVoided,
};

/// What is wrong with the step, if anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    None,
    /// A new key for each attempt.
    ForgetsItsKey,
    /// Undo takes back what it finds now, and leaves the way open for what comes later.
    HasNoFence,
    /// Undo takes back as often as it is asked to.
    UndoesTwice,
    /// Undo looks only at what was recorded.
    IgnoresTheUnknown,
    /// A lost answer is taken for a refusal.
    RefusesOnDoubt,
    /// Two attempts tell different stories.
    ChangesItsMind,
}

/// An account that can be charged under a key, and closed.
#[derive(Debug, Default)]
struct Account {
    charged: BTreeMap<String, bool>,
    closed: bool,
    effects: Effects,
}

impl Account {
    /// `false` when it is closed.
    fn charge(&mut self, key: &str) -> bool {
        if self.charged.contains_key(key) {
            return true;
        }
        if self.closed {
            return false;
        }
        self.charged.insert(key.to_owned(), true);
        self.effects.done += 1;
        true
    }

    fn give_back(&mut self, however_often: bool) {
        for held in self.charged.values_mut() {
            if std::mem::take(held) || however_often {
                self.effects.undone += 1;
            }
        }
    }
}

#[derive(Clone)]
struct Charge {
    flaw: Flaw,
    faults: Faults,
    account: Arc<Mutex<Account>>,
    attempts: Arc<Mutex<u32>>,
}

impl Charge {
    async fn call<T>(&self, act: impl FnOnce(&mut Account) -> T) -> Result<T, Injected> {
        self.faults.call(|| act(&mut self.account.lock().unwrap())).await
    }

    fn key(&self, key: IdempotencyKey) -> String {
        let mut attempts = self.attempts.lock().unwrap();
        *attempts += 1;
        match self.flaw {
            Flaw::ForgetsItsKey => format!("{key}-{attempts}"),
            _ => key.to_string(),
        }
    }
}

impl Step for Charge {
    type On = InventoryReserved;
    type Done = PaymentCharged;
    type Refused = PaymentRefused;

    async fn run(
        &self,
        reserved: &InventoryReserved,
        context: &StepContext,
    ) -> Result<Outcome<PaymentCharged, PaymentRefused>, StepError> {
        let key = self.key(context.key("charge"));
        let charged = self.call(|account| account.charge(&key)).await;
        if self.flaw == Flaw::RefusesOnDoubt && charged.is_err() {
            return Ok(Outcome::Refused(PaymentRefused { reason: "no-answer".into() }));
        }
        if !charged? {
            return Err(StepError::Superseded);
        }
        let name = match self.flaw {
            Flaw::ChangesItsMind => format!("pi_{}", self.attempts.lock().unwrap()),
            _ => "pi_1".into(),
        };
        Ok(Outcome::Done(PaymentCharged {
            payment: Some(name.parse()?),
            amount: reserved.total,
            ship_to: reserved.ship_to.clone(),
            pieces: reserved.pieces,
        }))
    }
}

impl Undo for Charge {
    type Undone = PaymentUndone;

    async fn undo(
        &self,
        _: &InventoryReserved,
        evidence: Evidence<&PaymentCharged>,
        _: &StepContext,
    ) -> Result<PaymentUndone, StepError> {
        if self.flaw == Flaw::IgnoresTheUnknown && evidence == Evidence::Unknown {
            return Ok(Self::never_ran());
        }
        if self.flaw != Flaw::HasNoFence {
            self.call(|account| account.closed = true).await?;
        }
        let however_often = self.flaw == Flaw::UndoesTwice;
        self.call(|account| account.give_back(however_often)).await?;
        Ok(Self::never_ran())
    }

    fn never_ran() -> PaymentUndone {
        PaymentUndone::Voided(PaymentVoided {})
    }
}

fn world(flaw: Flaw) -> impl Fn(Faults) -> World<Charge> {
    move |faults| {
        let account = Arc::new(Mutex::new(Account::default()));
        let attempts = Arc::default();
        let charge = Charge { flaw, faults, account: Arc::clone(&account), attempts };
        World::new(|| charge.clone(), move || account.lock().unwrap().effects)
    }
}

fn reserved() -> InventoryReserved {
    InventoryReserved {
        customer: "cus_1".parse().unwrap(),
        payment_method: "pm_1".parse().unwrap(),
        ship_to: Destination { country: "DE".into(), postcode: Some("10115".into()) },
        pieces: 1,
        total: Money::new(100, Currency::parse("EUR").unwrap()),
    }
}

#[tokio::test]
async fn a_step_without_a_flaw_obeys_every_law() {
    laws::hold_for_undo(world(Flaw::None), &reserved()).await;
}

#[tokio::test]
#[should_panic(expected = "running twice is running once")]
async fn a_new_key_for_each_attempt_breaks_running_twice() {
    laws::running_twice_is_running_once(world(Flaw::ForgetsItsKey), &reserved()).await;
}

#[tokio::test]
#[should_panic(expected = "running twice is running once")]
async fn two_stories_break_running_twice() {
    laws::running_twice_is_running_once(world(Flaw::ChangesItsMind), &reserved()).await;
}

#[tokio::test]
#[should_panic(expected = "running again is running once")]
async fn a_new_key_for_each_attempt_breaks_running_again() {
    let world = world(Flaw::ForgetsItsKey);
    laws::failing_anywhere_and_running_again_is_running_once(world, &reserved()).await;
}

#[tokio::test]
#[should_panic(expected = "refused a saga whose effect it could not find out")]
async fn a_refusal_on_doubt_breaks_running_again() {
    let world = world(Flaw::RefusesOnDoubt);
    laws::failing_anywhere_and_running_again_is_running_once(world, &reserved()).await;
}

#[tokio::test]
#[should_panic(expected = "undoing twice is undoing once")]
async fn giving_back_twice_breaks_undoing_twice() {
    laws::undoing_twice_is_undoing_once(world(Flaw::UndoesTwice), &reserved()).await;
}

#[tokio::test]
#[should_panic(expected = "unwinds")]
async fn an_undo_of_what_is_recorded_alone_does_not_unwind() {
    laws::failing_anywhere_unwinds(world(Flaw::IgnoresTheUnknown), &reserved()).await;
}

#[tokio::test]
#[should_panic(expected = "takes effect")]
async fn an_undo_without_a_fence_lets_a_late_run_through() {
    let world = world(Flaw::HasNoFence);
    laws::nothing_takes_effect_after_undoing_the_unknown(world, &reserved()).await;
}
