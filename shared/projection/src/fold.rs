//! The fold: from the messages of the log, one after the other, to the rows that they make.
//!
//! Where a saga stands depends on all of its events so far. The facts of open sagas are kept in
//! memory, and those of others are read from the rows, so that what is kept has a limit.

use std::collections::HashMap;

use jiff::Timestamp;
use quadrille::event::{BadData, Reason};
use quadrille::log::envelope::Envelope;
use quadrille::log::story::{Fact, Kind, Marks, Phase, State};
use quadrille::{Flow, SagaId, broker::Stored};
use rusqlite::types::Value;

use crate::read_model::{Happened, ReadModel, Rows, Write, number, text, text_or_null, time};

/// Sagas kept in memory, at most twice as many; some hundred bytes each.
const KEPT: usize = 20_000;

const EVENT: &str = "INSERT INTO events (sequence, saga, slot, kind, type, source, reason, event, \
    stored_at, cause, attempt, wait_us, work_us, state, waits_for) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)";

const SKIPPED: &str = "INSERT INTO skipped (sequence, subject, reason, pointer, message, \
    stored_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";

/// What a message makes: rows, and the identity of the message for the checkpoint.
#[derive(Debug, Default)]
pub(crate) struct Made {
    pub(crate) writes: Vec<Write>,
    pub(crate) skipped: bool,
    /// Of the event; empty if it cannot be read.
    pub(crate) event: String,
}

/// Folds the messages of one log.
#[derive(Debug)]
pub(crate) struct Fold {
    flow: &'static Flow,
    model: &'static ReadModel,
    young: HashMap<SagaId, Saga>,
    old: HashMap<SagaId, Saga>,
}

#[derive(Debug, Default)]
struct Saga {
    facts: Vec<Fact>,
    state: Option<State>,
}

impl Fold {
    pub(crate) fn new(flow: &'static Flow, model: &'static ReadModel) -> Self {
        Self { flow, model, young: HashMap::new(), old: HashMap::new() }
    }

    /// Forgets what is kept, because what was made of it was not stored.
    pub(crate) fn forget(&mut self) {
        self.young.clear();
        self.old.clear();
    }

    /// Makes the rows of the next message. `facts` reads those of a saga that is not kept.
    ///
    /// # Errors
    /// Those of `facts`.
    pub(crate) fn message<E>(
        &mut self,
        stored: &Stored,
        facts: impl FnOnce(&SagaId) -> Result<Vec<Fact>, E>,
    ) -> Result<Made, E> {
        let Some((slot, id)) = self.flow.parse_subject(&stored.subject) else {
            let bad = BadData::new(Reason::InvalidId, "", "the subject names no slot and saga");
            return Ok(Made {
                writes: vec![skipped(stored, &bad)],
                skipped: true,
                ..Made::default()
            });
        };
        let expected = if slot == self.flow.opens.slot { self.flow.opens.event } else { "" };
        let envelope = Envelope::read(self.flow, slot, &id, expected, stored);
        let fact = Fact::from_envelope(self.flow, slot, envelope.as_ref().ok(), stored);
        let mut saga = match self.young.remove(&id).or_else(|| self.old.remove(&id)) {
            Some(saga) => saga,
            None => self.read(facts(&id)?),
        };
        saga.facts.push(fact);
        let after = self.state(&saga.facts);
        let (fact, facts) = saga.facts.split_last().expect("one was just pushed");
        let made = self.rows(&Told {
            stored,
            id: &id,
            fact,
            facts,
            before: saga.state.as_ref(),
            after: after.as_ref(),
            envelope: envelope.as_ref(),
        });
        saga.state = after;
        self.keep(id, saga);
        Ok(made)
    }

    fn read(&self, facts: Vec<Fact>) -> Saga {
        let state = self.state(&facts);
        Saga { facts, state }
    }

    fn state(&self, facts: &[Fact]) -> Option<State> {
        let opened = facts.iter().any(|fact| fact.slot == self.flow.opens.slot);
        opened.then(|| State::of(self.flow, facts))
    }

    fn keep(&mut self, id: SagaId, saga: Saga) {
        let phase = saga.state.as_ref().map(|state| state.phase);
        if matches!(phase, Some(Phase::Completed | Phase::Cancelled)) {
            return;
        }
        if self.young.len() >= KEPT {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(id, saga);
    }

    fn rows(&self, told: &Told<'_>) -> Made {
        let opens = self.flow.opens.slot;
        let mut facts = told.facts.iter().chain([told.fact]);
        let happened = Happened {
            flow: self.flow,
            saga: told.id,
            fact: told.fact,
            opening: facts.find(|fact| fact.slot == opens),
            before: told.before,
            after: told.after,
            envelope: told.envelope,
        };
        let mut rows = Rows::default();
        (self.model.apply)(&happened, &mut rows);
        let alien = || match told.envelope {
            Err(bad) => bad.clone(),
            Ok(_) => BadData::new(Reason::WrongSource, "/source", "it may not write this slot"),
        };
        let bad = match told.fact.kind {
            Kind::Alien => Some(alien()),
            Kind::Forward | Kind::Refusal | Kind::Undo => rows.skipped,
        };
        let mut writes = Vec::with_capacity(rows.writes.len() + 2);
        writes.push(told.event());
        writes.append(&mut rows.writes);
        writes.extend(bad.as_ref().map(|bad| skipped(told.stored, bad)));
        let event = told.envelope.map_or_else(|_| String::new(), |envelope| envelope.id.clone());
        Made { writes, skipped: bad.is_some(), event }
    }
}

/// A message and what is known of its saga.
struct Told<'e> {
    stored: &'e Stored,
    id: &'e SagaId,
    fact: &'e Fact,
    /// The earlier ones.
    facts: &'e [Fact],
    before: Option<&'e State>,
    after: Option<&'e State>,
    envelope: Result<&'e Envelope<'e>, &'e BadData>,
}

impl Told<'_> {
    fn event(&self) -> Write {
        let Self { id, fact, after, .. } = *self;
        let envelope = self.envelope.ok();
        let cause = envelope.and_then(|envelope| envelope.cause.as_ref());
        let marks: Marks = serde_json::from_slice(&self.stored.payload).unwrap_or_default();
        let cause_at = cause.and_then(|cause| {
            let is = |fact: &&Fact| fact.sequence == cause.sequence;
            self.facts.iter().find(is).map(|fact| fact.stored_at)
        });
        let began = marks.began(cause_at, fact.stored_at);
        let between = |from: Option<Timestamp>, to: Option<Timestamp>| {
            from.zip(to).map_or(Value::Null, |(from, to)| {
                Value::Integer(to.as_microsecond() - from.as_microsecond())
            })
        };
        let waits = after.and_then(|state| state.waits_for.as_ref());
        let values = vec![
            number(fact.sequence),
            text(id.as_str()),
            text(&fact.slot),
            text(kind_name(fact.kind)),
            text(envelope.map_or("", |envelope| &envelope.event_type)),
            text(&fact.source),
            text_or_null(Some(&fact.reason)),
            text_or_null(envelope.map(|envelope| &envelope.id)),
            time(fact.stored_at),
            cause.map_or(Value::Null, |cause| number(cause.sequence)),
            marks.attempt.map_or(Value::Null, number),
            between(cause_at, began),
            between(began, Some(fact.stored_at)),
            text_or_null(after.map(|state| phase_name(state.phase))),
            text_or_null(waits.map(|waits| &waits.worker)),
        ];
        Write { sql: EVENT, values }
    }
}

fn skipped(stored: &Stored, bad: &BadData) -> Write {
    let values = vec![
        number(stored.sequence),
        text(&stored.subject),
        text(bad.reason.code()),
        text(&bad.pointer),
        text(&bad.message),
        time(stored.stored_at),
    ];
    Write { sql: SKIPPED, values }
}

/// As in JSON.
pub(crate) fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Forward => "forward",
        Kind::Refusal => "refusal",
        Kind::Undo => "undo",
        Kind::Alien => "alien",
    }
}

/// The opposite of [`kind_name`].
pub(crate) fn kind_of(name: &str) -> Kind {
    let all = [Kind::Forward, Kind::Refusal, Kind::Undo];
    all.into_iter().find(|kind| kind_name(*kind) == name).unwrap_or(Kind::Alien)
}

/// As in JSON: `completed`, `cancelled`, `cancelling`, `open`, `parked`, `unknown`.
pub fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Completed => "completed",
        Phase::Cancelled => "cancelled",
        Phase::Cancelling => "cancelling",
        Phase::Open => "open",
        Phase::Parked => "parked",
        Phase::Unknown => "unknown",
    }
}
