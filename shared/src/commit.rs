//! One decision, once, for ever: an event goes into its slot, or what is there already is found.
//!
//! A publish that looks failed may have been stored. So it is sent again with the same guard until
//! the slot says what it holds; no time-out and no empty read is ever taken for "not stored".

use serde::Serialize;
use serde_json::value::to_raw_value;
use serde_json::{Map, Value};
use tokio::time::{Instant, sleep};

use crate::broker::{Published, Stored, Unknown};
use crate::decode::Trigger;
use crate::delivery::Ending;
use crate::envelope::{Occasion, Outgoing, Work};
use crate::ids::Direction;
use crate::kernel::Kernel;
use crate::slots::{self, Entry, Record};
use crate::step::Outcome;
use crate::{BadData, Event, Reason, Refusal, failpoint, retry, telemetry};

/// Proof that a slot is decided, and that the signal stands where it must.
#[derive(Debug)]
pub(crate) struct Committed {
    _made_here: (),
}

impl Committed {
    /// The saga turned around at the pivot, before this step.
    pub(crate) fn stopped(_stop: &Record) -> Self {
        Self { _made_here: () }
    }

    /// An undo or an ending is in its slot.
    pub(crate) fn undone() -> Self {
        Self { _made_here: () }
    }

    /// The log holds what makes this delivery one of the past.
    pub(crate) fn seen(_entry: &Record) -> Self {
        Self { _made_here: () }
    }
}

/// How a slot came to hold what it holds.
#[derive(Debug)]
pub(crate) enum Resolved {
    /// By this call.
    Written,
    /// Before: by another replica, by an earlier publish of ours without an answer, by somebody
    /// else. What it says decides, not who wrote it.
    Found(Stored),
}

/// Writes an event into its slot, or finds out who did. `after` is the sequence of its cause.
pub(crate) async fn write_once(
    kernel: &Kernel,
    event: &Outgoing,
    after: u64,
) -> Result<Resolved, Ending> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        let wait = match kernel.broker.publish_once(&event.slot, event.payload.clone()).await {
            Published::Stored { sequence } if sequence > after => return Ok(Resolved::Written),
            Published::Stored { sequence } => {
                // An effect precedes its cause only in another stream of the same name.
                let subject = event.slot.subject();
                let why = format!("{subject} was stored as {sequence}, not after {after}");
                return kernel.halt(why).await;
            }
            Published::Conflict => {
                let slot = event.slot.subject();
                match kernel.broker.last(kernel.flow.stream, slot).await {
                    Ok(Some(stored)) => return Ok(Resolved::Found(stored)),
                    Ok(None) | Err(_) => {
                        telemetry::unanswered(kernel.row.worker, slot, attempt);
                        retry::BROKER.wait(attempt)
                    }
                }
            }
            Published::Unknown(Unknown::Busy) => retry::BUSY.wait(attempt),
            Published::Unknown(Unknown::Full) => {
                let stream = kernel.flow.stream;
                tracing::error!(stream, "the log is full: raise max_bytes; messages are held");
                retry::FULL.wait(attempt)
            }
            Published::Unknown(Unknown::NoAnswer(why)) => {
                tracing::debug!(slot = event.slot.subject(), why, "no answer, publishing again");
                telemetry::unanswered(kernel.row.worker, event.slot.subject(), attempt);
                Box::pin(kernel.same_streams()).await;
                retry::BROKER.wait(attempt)
            }
            Published::TooLarge => {
                let what = "its outcome is over the size limit of an event";
                return Err(Ending::Park(BadData::new(Reason::TooLarge, "", what)));
            }
            Published::Rejected { code, description } => {
                let why = format!("the broker refused an event ({code}): {description}");
                return kernel.halt(why).await;
            }
        };
        sleep(wait).await;
    }
}

/// What became of a step's outcome.
pub(crate) enum Commit {
    /// The slot is decided, and everybody who must know was told.
    Settled(Committed),
    /// The step acted, and its slot says that it must not have: tell everybody ([`refused`]), then
    /// take it back.
    TakeBack(Record),
}

/// Records the outcome of a run.
pub(crate) async fn commit<On, Done: Event, Refused: Refusal>(
    kernel: &Kernel,
    trigger: &Trigger<On>,
    outcome: &Outcome<Done, Refused>,
    work: Work,
) -> Result<Commit, Ending> {
    let event = outgoing(kernel, trigger, outcome, work);
    let resolved = write_once(kernel, &event, trigger.this.sequence).await?;
    failpoint::hit(Direction::Run, "after-commit");
    let stored = match resolved {
        Resolved::Written => {
            if let Outcome::Refused(refused) = outcome {
                let worker = kernel.row.worker;
                Box::pin(signal(kernel, trigger, worker, refused.reason(), worker)).await?;
            }
            return Ok(Commit::Settled(Committed { _made_here: () }));
        }
        Resolved::Found(stored) => stored,
    };
    match (outcome, slots::decision(kernel.flow, kernel.row, &trigger.saga, &stored)) {
        (Outcome::Done(_), Entry::Refused(record)) => Ok(Commit::TakeBack(record)),
        (Outcome::Done(done), Entry::Done(record)) if !says_the_same(done, &record) => Err(
            orphan_effect(kernel, trigger, "the step acted twice: its slot holds another outcome"),
        ),
        (Outcome::Done(_) | Outcome::Refused(_), entry) => {
            Box::pin(settle_found(kernel, trigger, entry)).await.map(Commit::Settled)
        }
    }
}

/// Whether two runs of a step had one effect, as far as both tell: another version of the worker
/// may know fewer fields or more.
fn says_the_same<Done: Event>(done: &Done, record: &Record) -> bool {
    let fields = |data: &str| serde_json::from_str::<Map<String, Value>>(data).unwrap_or_default();
    let (ours, theirs) = (fields(done.to_data().get()), fields(&record.data));
    ours.iter().all(|(name, value)| theirs.get(name).is_none_or(|their| their == value))
}

/// An effect outside that no slot records: only a human can tell what to do about it.
pub(crate) fn orphan_effect<On>(kernel: &Kernel, trigger: &Trigger<On>, what: &str) -> Ending {
    tracing::error!(worker = kernel.row.worker, saga = %trigger.saga, "orphan effect: {what}");
    Ending::Park(BadData::new(Reason::OrphanEffect, "", what))
}

fn outgoing<On, Done: Event, Refused: Refusal>(
    kernel: &Kernel,
    trigger: &Trigger<On>,
    outcome: &Outcome<Done, Refused>,
    work: Work,
) -> Outgoing {
    let (flow, worker) = (kernel.flow, kernel.row.worker);
    let slot = kernel.slot(kernel.row.slot, &trigger.saga);
    let occasion = kernel.occasion(trigger.this.clone(), trigger.traceparent.clone());
    let occasion = Occasion { work: Some(work), ..occasion };
    match outcome {
        Outcome::Done(done) => {
            let event = (done.event_type(), &*done.to_data());
            Outgoing::new(flow, slot, worker, event, &occasion)
        }
        Outcome::Refused(refused) => {
            let event = (refused.event_type(), &*refused.to_data());
            Outgoing::new(flow, slot, worker, event, &occasion)
        }
    }
}

/// Settles a trigger whose slot was found decided, by whoever: a refusal needs its signal.
pub(crate) async fn settle_found<On>(
    kernel: &Kernel,
    trigger: &Trigger<On>,
    entry: Entry,
) -> Result<Committed, Ending> {
    match entry {
        Entry::Done(record) => Ok(Committed::seen(&record)),
        Entry::Refused(record) => refused(kernel, trigger, &record).await,
        Entry::Alien => Err(alien()),
    }
}

/// Settles a trigger whose slot holds a refusal.
pub(crate) async fn refused<On>(
    kernel: &Kernel,
    trigger: &Trigger<On>,
    refusal: &Record,
) -> Result<Committed, Ending> {
    make_sure_of_signal(kernel, trigger, kernel.row.worker, refusal).await?;
    Ok(Committed::seen(refusal))
}

/// How often the slot behind a fence is read, 1 to 2 s apart in the end: longer than a leader can
/// be deposed and not know it.
const LOOKS: u32 = 16;

/// Reads the step's own slot until it says something: a fence was met, so it must. Unless somebody
/// else took the effect back, at the service itself: then nothing will ever be decided here.
pub(crate) async fn superseded<On>(
    kernel: &Kernel,
    trigger: &Trigger<On>,
) -> Result<Committed, Ending> {
    let slot = kernel.slot(kernel.row.slot, &trigger.saga);
    let why = "its effect is fenced off, and yet its slot is empty";
    let held_since = Instant::now();
    for attempt in 1..=LOOKS {
        if let Some(stored) = kernel.last(&slot).await? {
            let entry = slots::decision(kernel.flow, kernel.row, &trigger.saga, &stored);
            return settle_found(kernel, trigger, entry).await;
        }
        telemetry::attempt_failed(kernel.row.worker, &trigger.saga, attempt, why);
        kernel.pause(retry::BROKER.wait(attempt), held_since).await?;
    }
    Err(Ending::Park(BadData::new(Reason::FencedOff, "", why)))
}

/// The signal of a refusal or stop that stands in the log.
pub(crate) async fn make_sure_of_signal<On>(
    kernel: &Kernel,
    trigger: &Trigger<On>,
    step: &str,
    refusal: &Record,
) -> Result<(), Ending> {
    signal(kernel, trigger, step, &refusal.reason, &refusal.source).await
}

/// Bytes of a reason that its signal repeats.
const MAX_REASON: usize = 256;

/// Why a saga turned around.
#[derive(Serialize)]
struct Signal<'s> {
    /// The step that was refused, or the pivot's slot for a stop.
    step: &'s str,
    reason: &'s str,
    /// Who refused.
    by: &'s str,
}

/// Turns the saga around. Any signal will do, whoever wrote it: the slots decide.
async fn signal<On>(
    kernel: &Kernel,
    trigger: &Trigger<On>,
    step: &str,
    reason: &str,
    by: &str,
) -> Result<(), Ending> {
    let (flow, worker) = (kernel.flow, kernel.row.worker);
    // A service's own words may be long; the refusal has them all.
    let reason = &reason[..reason.floor_char_boundary(MAX_REASON)];
    let data = to_raw_value(&Signal { step, reason, by }).expect("strings always serialise");
    let slot = kernel.slot(flow.turns.slot, &trigger.saga);
    let occasion = kernel.occasion(trigger.this.clone(), trigger.traceparent.clone());
    let event = Outgoing::new(flow, slot, worker, (flow.turns.event, &data), &occasion);
    match write_once(kernel, &event, trigger.this.sequence).await? {
        Resolved::Written | Resolved::Found(_) => {}
    }
    failpoint::hit(Direction::Run, "after-refused-signal");
    Ok(())
}

/// A slot that holds what nobody may have written: no redelivery will change that.
pub(crate) fn alien() -> Ending {
    let what = "its slot holds an event of somebody who may not write it";
    Ending::Park(BadData::new(Reason::WrongSource, "", what))
}
