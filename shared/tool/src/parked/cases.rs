//! What was parked, tried again and discarded, folded from the stream of parked messages, and what
//! the log says about it.
//!
//! A message that the step has decided since is settled, whoever decided it: a later release, a
//! cancellation, a deadline.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use jiff::Timestamp;
use quadrille::broker::{Broker, Care, Stored};
use quadrille::flow::Row;
use quadrille::log::parked::{Audit, Entry, Parked, Release};
use quadrille::nats::NatsBroker;
use quadrille::{Flow, Reason, SagaId};
use serde::Serialize;

use super::settled::settle;
use crate::output::{Advise, QUIET, Ui};

/// Messages in one request; a parked one may have 256 KB.
const PAGE: usize = 256;

/// Everything on the stream of parked messages.
pub(super) struct Cases {
    /// In the order in which they were last parked.
    pub(super) all: Vec<Case>,
    /// Sequence of the last message that was read.
    pub(super) end: u64,
}

/// One message that was parked, however often.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) durable: String,
    /// `None` for a message whose subject names no saga.
    pub(super) saga: Option<SagaId>,
    /// Newest first, never empty.
    pub(super) parkings: Vec<Parking>,
    /// Newest first.
    pub(super) releases: Vec<Noted<Release>>,
    pub(super) discarded: Option<Noted<Audit>>,
    pub(super) standing: Standing,
    /// Whether something of it can still end: its subject names a saga, and, if an operator gave
    /// it up, the log has that saga's opening.
    pub(super) has_saga: bool,
}

/// One time that it was parked.
#[derive(Debug)]
pub(super) struct Parking {
    /// On the stream of parked messages.
    pub(super) sequence: u64,
    pub(super) entry: Entry,
}

/// What an operator did, and when the broker stored that.
#[derive(Debug, Serialize)]
pub(super) struct Noted<T> {
    pub(super) sequence: u64,
    pub(super) at: Timestamp,
    #[serde(flatten)]
    pub(super) what: T,
}

/// Where a parked message stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Standing {
    /// It waits for a human.
    Parked,
    /// It is being tried again.
    Released,
    /// Its step has decided, or was refused on its behalf.
    Settled,
    /// An operator has given it up: its saga ends, if there is one.
    Discarded,
}

impl Standing {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Parked => "parked",
            Self::Released => "released",
            Self::Settled => "settled",
            Self::Discarded => "discarded",
        }
    }
}

impl Case {
    pub(super) fn newest(&self) -> &Parking {
        self.parkings.first().expect("a case begins with a parking")
    }

    pub(super) fn parked(&self) -> &Parked {
        &self.newest().entry.parked
    }

    /// Whether something happened outside that the log does not say: a human has to look, and the
    /// saga itself may have ended long ago.
    pub(super) fn is_orphan_effect(&self) -> bool {
        self.parked().reason == Reason::OrphanEffect.code()
    }

    /// Where it is found that its step, or the whole saga, has come to a decision.
    pub(super) fn decisive(&self, flow: &Flow) -> Vec<String> {
        let (Some(row), Some(saga)) = (self.row(flow), &self.saga) else { return Vec::new() };
        let slots = [row.slot, flow.closing().slot];
        slots.map(|slot| format!("{}.{slot}.{saga}", flow.subjects)).into()
    }

    /// Whether it may still be on its way: what was given up ends, too, unless no saga that was
    /// opened is behind it.
    pub(super) fn waits(&self) -> bool {
        match self.standing {
            Standing::Parked | Standing::Released => true,
            Standing::Discarded => self.has_saga,
            Standing::Settled => false,
        }
    }

    /// Of the worker that parked it, if its durable runs a step.
    pub(super) fn row(&self, flow: &Flow) -> Option<&'static Row> {
        flow.row(&self.durable)
    }

    /// The id, or the subject of a message that names no saga.
    pub(super) fn name(&self) -> String {
        match &self.saga {
            Some(saga) => saga.to_string(),
            None => quadrille::ids::shown(&self.parked().subject, 100),
        }
    }

    /// Whether it is meant by this id, or by this subject, as it is or as `parked ls` shows it.
    pub(super) fn is_called(&self, name: &str) -> bool {
        self.saga.as_ref().is_some_and(|saga| saga.as_str() == name)
            || self.parked().subject == name
            || self.name() == name
    }

    /// The id, or a dash.
    pub(super) fn id(&self) -> &str {
        self.saga.as_ref().map_or("-", SagaId::as_str)
    }
}

/// Reads the whole stream of parked messages; `keeps` says whose payloads are wanted.
///
/// # Errors
/// When the broker does not answer, or has no such stream.
pub(super) async fn read(
    broker: &NatsBroker,
    flow: &Flow,
    keeps: impl Fn(&str) -> bool,
    ui: Ui,
) -> anyhow::Result<Cases> {
    let stream = flow.parked_stream();
    let advice = format!("`{} topology plan` says whether the stream is there", ui.tool);
    let state = broker.state(&stream).await.map_err(|error| error.advise(&advice))?;
    let Some(state) = state else {
        bail!(anyhow::anyhow!("there is no stream {stream}").advise(advice));
    };
    let mut fold = Fold { flow, cases: BTreeMap::new() };
    let (mut from, end) = (1, state.last_sequence);
    while from <= end {
        let page = broker.read_page(&stream, from, PAGE, Care::Fast).await;
        let page = page.with_context(|| format!("{stream} cannot be read"))?;
        let Some(last) = page.messages.last() else { break };
        if ui.watched && from / 10_000 != last.sequence / 10_000 {
            let far = format!("read {stream} up to {} of {end}", last.sequence);
            ui.note(ui.on_stderr.paint(QUIET, far));
        }
        from = last.sequence + 1;
        page.messages.iter().for_each(|message| fold.take(message, &keeps));
    }
    let mut all: Vec<_> =
        fold.cases.into_values().filter(|case| !case.parkings.is_empty()).collect();
    all.sort_by_key(|case| case.newest().sequence);
    all.iter_mut().for_each(stand);
    settle(broker, flow, &mut all).await?;
    Ok(Cases { all, end })
}

/// A message by its durable and its saga, or by its sequence in the log if it names no saga.
type Key = (String, String, u64);

struct Fold<'f> {
    flow: &'f Flow,
    cases: BTreeMap<Key, Case>,
}

impl Fold<'_> {
    /// What cannot be read is left out: another program may write to these subjects.
    fn take(&mut self, message: &Stored, keeps: &impl Fn(&str) -> bool) {
        let mut tokens = message.subject.split('.');
        let [Some(kind), Some(subjects), Some(name), Some(id), None] =
            std::array::from_fn(|_| tokens.next())
        else {
            return;
        };
        if subjects != self.flow.subjects {
            return;
        }
        let (sequence, at) = (message.sequence, message.stored_at);
        match kind {
            "parked" => {
                let Ok(mut entry) = serde_json::from_slice::<Entry>(&message.payload) else {
                    return;
                };
                if !keeps(id) {
                    entry.payload_base64.clear();
                    entry.headers.clear();
                }
                let number = entry.parked.sequence;
                let case = self.case(name, id, number);
                case.parkings.insert(0, Parking { sequence, entry });
            }
            "released" => {
                let what = serde_json::from_slice(&message.payload).unwrap_or_default();
                self.case(name, id, 0).releases.insert(0, Noted { sequence, at, what });
            }
            "audit" if name == "discard" => {
                let Ok(what) = serde_json::from_slice::<Audit>(&message.payload) else { return };
                // The entry says which message without an id it was.
                let number = self.number_of(what.parked);
                let durable = what.durable.clone();
                self.case(&durable, id, number).discarded = Some(Noted { sequence, at, what });
            }
            _ => {}
        }
    }

    fn number_of(&self, parking: u64) -> u64 {
        let has = |case: &&Case| case.parkings.iter().any(|one| one.sequence == parking);
        self.cases.values().find(has).map_or(0, |case| case.parked().sequence)
    }

    fn case(&mut self, durable: &str, id: &str, number: u64) -> &mut Case {
        let saga = SagaId::parse(id).ok().filter(|_| id != "-");
        let number = if saga.is_some() { 0 } else { number };
        let key = (durable.to_owned(), id.to_owned(), number);
        self.cases.entry(key).or_insert_with(|| Case {
            durable: durable.to_owned(),
            has_saga: saga.is_some(),
            saga,
            parkings: Vec::new(),
            releases: Vec::new(),
            discarded: None,
            standing: Standing::Parked,
        })
    }
}

/// Where a case stands, as far as the stream of parked messages says.
fn stand(case: &mut Case) {
    let parked = case.newest().sequence;
    let later = |sequence: Option<u64>| sequence.is_some_and(|sequence| sequence > parked);
    case.standing = if later(case.discarded.as_ref().map(|audit| audit.sequence)) {
        Standing::Discarded
    } else if later(case.releases.first().map(|release| release.sequence)) {
        Standing::Released
    } else {
        Standing::Parked
    };
}
