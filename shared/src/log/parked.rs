//! Messages that were set aside (*dead letters*), tried again or given up, as the stream of parked
//! messages holds them, and under which subjects.

pub use quadrille_vocabulary::parked::{Audit, Entry, Parked, Release, Verdict};

use crate::{Flow, Reason, SagaId};

/// The subject of a parked message: `parked.<subjects>.<durable>.<saga id>`, and `-` in place of an
/// id that cannot be read.
pub fn subject(flow: &Flow, durable: &str, saga: Option<&SagaId>) -> String {
    let saga = saga.map_or("-", SagaId::as_str);
    format!("parked.{}.{durable}.{saga}", flow.subjects)
}

/// The filter that matches the parked messages of one saga, no matter which durable set them aside.
pub fn filter(flow: &Flow, saga: &SagaId) -> String {
    subject(flow, "*", Some(saga))
}

/// The filter that matches the parked messages of all sagas.
pub fn filter_all(flow: &Flow) -> String {
    format!("parked.{}.*.*", flow.subjects)
}

/// Reasons that may pass: a worker, a service or an operator may mend what they are about.
const PASSING: [Reason; 10] = [
    Reason::MalformedHeader,
    Reason::UnknownType,
    Reason::UnknownVersion,
    Reason::WrongSource,
    Reason::NoCause,
    Reason::BadMessage,
    Reason::AttemptsUsedUp,
    Reason::CrashLoop,
    Reason::OrphanEffect,
    Reason::FencedOff,
];

/// Whether an event that opens a saga will be set aside however often it is tried, because what is
/// wrong is in its bytes, which nobody can change. An event's own rules are of that sort.
pub fn is_for_good(flow: &Flow, parked: &Parked) -> bool {
    let slot = flow.parse_subject(&parked.subject).map(|(slot, _)| slot);
    slot == Some(flow.opens.slot) && PASSING.iter().all(|passing| passing.code() != parked.reason)
}

/// The filters of a saga's parked messages and of their releases, as a
/// [story](super::story::tell) is told from them.
pub fn filters(flow: &Flow, saga: &SagaId) -> Vec<String> {
    vec![filter(flow, saga), flow.released("*", saga)]
}
