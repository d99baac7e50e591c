//! Everything the sandbox knows, behind one lock that is never held across an await.
//!
//! A change is decided, then written to the files, then applied; a restart applies the same
//! records. So the answers to clients, the ledger and a restarted sandbox agree.

use std::path::Path;

use anyhow::Context;
use jiff::Timestamp;

use crate::answer::Answer;
use crate::calls::Calls;
use crate::carrier;
use crate::decision::{Decision, Slowly};
use crate::faults::{Faults, Plan};
use crate::intent::Intent;
use crate::journal::{Journal, Record, ensure_paired};
use crate::keys::{Begin, KEY_LIFETIME, Keys, SavedAnswer};
use crate::ledger::Ledger;
use crate::operation::{Operation, Service};
use crate::payment::Payment;
use crate::quote;
use crate::request::{Change, Command, Question};

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) ledger: Ledger,
    pub(crate) calls: Calls,
    pub(crate) faults: Faults,
    payment: Payment,
    /// By service.
    keys: [Keys; Service::ALL.len()],
    journal: Journal,
}

impl World {
    /// Rebuilds the world from the ledger file and its journal, or begins a new one.
    pub(crate) fn open(ledger: &Path, seed: u64) -> anyhow::Result<Self> {
        let (journal, restored) = Journal::open(ledger)?;
        let mut world = Self {
            ledger: Ledger::default(),
            calls: Calls::default(),
            faults: Faults::new(seed),
            payment: Payment::default(),
            keys: Default::default(),
            journal,
        };
        for record in restored.records {
            let entries = world.ledger.number(record.at, &record.facts);
            world.ledger.append(entries);
            world.apply(record.intent, record.saved);
        }
        ensure_paired(world.ledger.len(), restored.ledger_lines)?;
        let missing = world.ledger.entries_from(restored.ledger_lines);
        world.journal.complete_ledger(missing).context("cannot complete the ledger")?;
        Ok(world)
    }

    /// Counts the request and draws the faults that it will meet.
    pub(crate) fn admit(&mut self, operation: Operation, order: Option<&str>) -> Plan {
        self.calls.count(operation, order);
        self.faults.plan(operation, order)
    }

    pub(crate) fn begin(&mut self, change: &Change) -> Begin {
        let service = change.operation().service();
        let lifetime_ms = self.key_lifetime_ms(service);
        self.keys(service).begin(&change.key, &change.request, Timestamp::now(), lifetime_ms)
    }

    /// Executes what has begun: decides, writes, applies, and frees or answers the key.
    pub(crate) fn complete(&mut self, change: &Change, slowly: Slowly) -> Answer {
        let decision = match &change.command {
            Command::Payment(command) => {
                self.payment.decide(command, &change.key, Timestamp::now(), slowly)
            }
            Command::Label(label) => carrier::decide(label, &change.key),
        };
        self.conclude(change, decision)
    }

    /// Ends what has begun with this answer instead of executing it; the key remembers it.
    pub(crate) fn complete_with(&mut self, change: &Change, answer: Answer) -> Answer {
        self.conclude(change, Decision::answered(answer))
    }

    fn conclude(&mut self, change: &Change, decision: Decision) -> Answer {
        let service = change.operation().service();
        let Decision { answer, keep, intent, facts } = decision;
        if !keep {
            self.keys(service).forget(&change.key);
            return answer;
        }
        let at = Timestamp::now();
        let entries = self.ledger.number(at, &facts);
        let saved = SavedAnswer {
            service,
            key: change.key.clone(),
            request: change.request.clone(),
            order: self.order_of_change(change).map(str::to_owned),
            answer: answer.clone(),
            saved_at: at,
            lifetime_ms: self.key_lifetime_ms(service),
        };
        let record = Record { at, facts, intent, saved: Some(saved) };
        if let Err(error) = self.journal.append(&record, &entries) {
            eprintln!("nothing was done for key {}: {error:#}", change.key);
            self.keys(service).forget(&change.key);
            let message = "the ledger cannot be written";
            return Answer::failure(service, 500, "ledger_unwritable", message);
        }
        self.ledger.append(entries);
        self.apply(record.intent, record.saved);
        answer
    }

    /// Does what was to happen by itself until now.
    pub(crate) fn catch_up(&mut self) {
        let at = Timestamp::now();
        for (intent, facts) in self.payment.due(at) {
            let entries = self.ledger.number(at, &facts);
            let record = Record { at, facts, intent: Some(intent), saved: None };
            if let Err(error) = self.journal.append(&record, &entries) {
                eprintln!("nothing happened by itself: {error:#}");
                return;
            }
            self.ledger.append(entries);
            self.apply(record.intent, None);
        }
    }

    fn apply(&mut self, intent: Option<Intent>, saved: Option<SavedAnswer>) {
        if let Some(intent) = intent {
            self.payment.put(intent);
        }
        if let Some(saved) = saved {
            self.keys(saved.service).save(saved);
        }
    }

    pub(crate) fn answer(&self, question: &Question) -> Answer {
        match question {
            Question::Search { order, log } => self.payment.search(order, log.as_deref()),
            Question::Retrieve { intent } => self.payment.retrieve(intent),
            Question::Refunds { intent } => self.payment.refunds(intent),
            Question::Lookup { key } => {
                carrier::look_up(&self.keys[Service::Carrier as usize], key)
            }
            Question::Rates(parcel) => quote::cheapest(parcel),
        }
    }

    /// The order a command is about, where the sandbox can tell.
    pub(crate) fn order_of_change<'a>(&'a self, change: &'a Change) -> Option<&'a str> {
        match &change.command {
            Command::Payment(command) => self.payment.order_of(command),
            Command::Label(label) => Some(&label.reference),
        }
    }

    pub(crate) fn order_of_question<'a>(&'a self, question: &'a Question) -> Option<&'a str> {
        match question {
            Question::Search { order, .. } => Some(order),
            Question::Retrieve { intent } | Question::Refunds { intent } => {
                self.payment.order_of_intent(intent)
            }
            Question::Lookup { key } => {
                self.keys[Service::Carrier as usize].saved(key)?.order.as_deref()
            }
            Question::Rates(parcel) => Some(&parcel.reference),
        }
    }

    fn keys(&mut self, service: Service) -> &mut Keys {
        &mut self.keys[service as usize]
    }

    fn key_lifetime_ms(&self, service: Service) -> Option<u64> {
        match service {
            Service::Payment => {
                let usual = u64::try_from(KEY_LIFETIME.as_millis()).expect("a day fits");
                Some(self.faults.key_lifetime_ms().unwrap_or(usual))
            }
            Service::Carrier | Service::Quote => None,
        }
    }
}
