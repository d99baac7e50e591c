//! The payment service: intents that are created unconfirmed, then confirmed or canceled, then
//! refunded. Shaped like Stripe's PaymentIntents, small enough to be read in one sitting.
//!
//! `decide` changes nothing; the world writes its decision down and hands the intent to `put`.

mod form;
mod command;
mod error;
mod later;

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;

use crate::answer::Answer;
use crate::cards::{DeclinedCard, PROCESSING_CARD, decline_of, failure_of};
use crate::decision::{Decision, Slowly};
use crate::intent::{Declined, Intent, Later, NewIntent, RefundStatus, Status};
use crate::ledger::{Effect, Fact};
use crate::operation::Service;

pub(crate) use command::Command;
pub(crate) use error::invalid;
pub(crate) use form::{Form, searched};

#[derive(Debug, Default)]
pub(crate) struct Payment {
    intents: HashMap<String, Intent>,
    by_order: HashMap<String, Vec<String>>,
    /// Intents to which something is still to happen by itself.
    waiting: BTreeSet<String>,
}

impl Payment {
    pub(crate) fn put(&mut self, intent: Intent) {
        if let Some(order) = intent.order()
            && !self.intents.contains_key(&intent.id)
        {
            self.by_order.entry(order.to_owned()).or_default().push(intent.id.clone());
        }
        if intent.waits() {
            self.waiting.insert(intent.id.clone());
        } else {
            self.waiting.remove(&intent.id);
        }
        self.intents.insert(intent.id.clone(), intent);
    }

    /// What has happened by itself until now, and is to be put down.
    pub(crate) fn due(&self, now: Timestamp) -> Vec<(Intent, Vec<Fact>)> {
        let waiting = self.waiting.iter().filter_map(|id| self.intents.get(id));
        waiting.filter_map(|intent| later::after(intent.clone(), now)).collect()
    }

    /// What to answer, what the intent becomes and what the ledger will say.
    pub(crate) fn decide(
        &self,
        command: &Command,
        key: &str,
        now: Timestamp,
        slowly: Slowly,
    ) -> Decision {
        let later =
            |wait: Option<Duration>| wait.map(|wait| Later { at: now + wait, key: key.to_owned() });
        match command {
            Command::Create(new) => create(new, key, now),
            Command::Confirm { intent, payment_method } => self.with(intent, |mut intent| {
                if let Some(payment_method) = payment_method {
                    intent.replace_payment_method(payment_method);
                }
                confirm(intent, key, later(slowly.processing))
            }),
            Command::Cancel { intent } => self.with(intent, |intent| cancel(intent, key)),
            Command::Refund { intent, amount } => {
                let status = match slowly.refund_fails {
                    true => RefundStatus::Failed,
                    false => RefundStatus::Succeeded,
                };
                let ends = later(slowly.refund_pending).map(|later| (later, status));
                self.with(intent, |intent| refund(intent, *amount, key, ends))
            }
        }
    }

    fn with(&self, id: &str, decide: impl FnOnce(Intent) -> Decision) -> Decision {
        match self.intents.get(id) {
            Some(intent) => decide(intent.clone()),
            None => Decision::rejected(error::no_such_intent(id)),
        }
    }

    pub(crate) fn retrieve(&self, id: &str) -> Answer {
        match self.intents.get(id) {
            Some(intent) => Answer::new(200, intent),
            None => error::no_such_intent(id),
        }
    }

    /// The refunds of an intent, newest first.
    pub(crate) fn refunds(&self, id: &str) -> Answer {
        let Some(intent) = self.intents.get(id) else { return error::no_such_intent(id) };
        let refunds: Vec<_> = intent.refunds.iter().rev().collect();
        Answer::new(200, &json!({"object": "list", "data": refunds, "has_more": false}))
    }

    /// The order's intents, newest first. Unlike Stripe's, this index is never behind.
    pub(crate) fn search(&self, order: &str, log: Option<&str>) -> Answer {
        let ids = self.by_order.get(order).map_or(&[][..], Vec::as_slice);
        let found = ids.iter().rev().filter_map(|id| self.intents.get(id));
        let found: Vec<_> = found.filter(|intent| log.is_none() || intent.log() == log).collect();
        Answer::new(200, &json!({"object": "search_result", "data": found, "has_more": false}))
    }

    pub(crate) fn order_of<'a>(&'a self, command: &'a Command) -> Option<&'a str> {
        match command {
            Command::Create(new) => new.metadata.get("order").map(String::as_str),
            Command::Confirm { intent, .. }
            | Command::Cancel { intent }
            | Command::Refund { intent, .. } => self.order_of_intent(intent),
        }
    }

    pub(crate) fn order_of_intent(&self, id: &str) -> Option<&str> {
        self.intents.get(id)?.order()
    }
}

fn create(new: &NewIntent, key: &str, now: Timestamp) -> Decision {
    let intent = Intent::new(new, now);
    let created = fact(Effect::IntentCreated, &intent, intent.amount, key);
    if !new.confirm {
        return changed(200, intent, created);
    }
    let mut decision = confirm(intent, key, None);
    decision.facts.insert(0, created);
    decision
}

fn confirm(mut intent: Intent, key: &str, succeeds: Option<Later>) -> Decision {
    if !intent.can_be_confirmed() {
        return Decision::answered(error::unexpected_state(&intent));
    }
    if let Some(status) = failure_of(&intent.payment_method) {
        let message = "the service fails for this card";
        return Decision::rejected(Answer::failure(Service::Payment, status, "broken", message));
    }
    let declined = fact(Effect::Declined, &intent, intent.amount, key);
    if let Some(card) = decline_of(&intent.payment_method) {
        return decline(intent, card, declined);
    }
    if intent.payment_method == PROCESSING_CARD || succeeds.is_some() {
        intent.status = Status::Processing;
        intent.succeeds = succeeds;
        let answer = Answer::new(200, &intent);
        return Decision { answer, keep: true, intent: Some(intent), facts: Vec::new() };
    }
    let captured = later::capture(&mut intent, key);
    changed(200, intent, captured)
}

fn decline(mut intent: Intent, card: DeclinedCard, declined: Fact) -> Decision {
    intent.status = Status::RequiresPaymentMethod;
    let (code, decline_code) = (card.code.to_owned(), card.decline_code.to_owned());
    intent.last_payment_error = Some(Declined { code, decline_code });
    let answer = error::declined(card, &intent);
    Decision { answer, keep: true, intent: Some(intent), facts: vec![declined] }
}

fn cancel(mut intent: Intent, key: &str) -> Decision {
    match intent.status {
        Status::Processing | Status::Canceled | Status::Succeeded => {
            Decision::answered(error::unexpected_state(&intent))
        }
        Status::RequiresConfirmation | Status::RequiresPaymentMethod => {
            intent.status = Status::Canceled;
            let canceled = fact(Effect::Canceled, &intent, intent.amount, key);
            changed(200, intent, canceled)
        }
    }
}

/// Refuses a refund of more than is held, and records that in the ledger.
fn refund(
    mut intent: Intent,
    amount: Option<u64>,
    key: &str,
    ends: Option<(Later, RefundStatus)>,
) -> Decision {
    let held = intent.amount_received - intent.amount_refunded;
    let refused = match amount {
        _ if intent.status != Status::Succeeded => Some(error::unexpected_state(&intent)),
        _ if held == 0 => Some(error::already_refunded(&intent)),
        Some(amount) if amount > held => Some(error::refund_too_large(amount, held)),
        Some(_) | None => None,
    };
    if let Some(answer) = refused {
        let asked = amount.unwrap_or(intent.amount);
        let refused = fact(Effect::OverRefundRefused, &intent, asked, key);
        return Decision { answer, keep: true, intent: None, facts: vec![refused] };
    }
    let amount = amount.unwrap_or(held);
    intent.amount_refunded += amount;
    let refund = intent.refund(amount, ends);
    let facts = match refund.status {
        RefundStatus::Succeeded => vec![fact(Effect::Refunded, &intent, amount, key)],
        RefundStatus::Pending | RefundStatus::Failed => Vec::new(),
    };
    let answer = Answer::new(200, &refund);
    intent.refunds.push(refund);
    Decision { answer, keep: true, intent: Some(intent), facts }
}

fn changed(status: u16, intent: Intent, fact: Fact) -> Decision {
    let answer = Answer::new(status, &intent);
    Decision { answer, keep: true, intent: Some(intent), facts: vec![fact] }
}

fn fact(effect: Effect, intent: &Intent, amount: u64, key: &str) -> Fact {
    Fact {
        effect,
        order: intent.order().map(str::to_owned),
        key: key.to_owned(),
        amount: Some(amount),
        currency: Some(intent.currency.clone()),
        intent: Some(intent.id.clone()),
        label: None,
    }
}
