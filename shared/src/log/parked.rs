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

/// Whether an event that opens a saga will be set aside however often it is tried, because what is
/// wrong is in its bytes, which nobody can change. A code that is not known here is a rule of the
/// event if it points into the payload; otherwise it may be a newer worker's, and proves nothing.
pub fn is_for_good(flow: &Flow, parked: &Parked) -> bool {
    let slot = flow.parse_subject(&parked.subject).map(|(slot, _)| slot);
    let known = Reason::KNOWN.into_iter().find(|known| known.code() == parked.reason);
    let is_wrong = known.map_or(!parked.pointer.is_empty(), Reason::is_of_its_bytes);
    slot == Some(flow.opens.slot) && is_wrong
}

/// The filters of a saga's parked messages and of their releases, as a
/// [story](super::story::tell) is told from them.
pub fn filters(flow: &Flow, saga: &SagaId) -> Vec<String> {
    vec![filter(flow, saga), flow.released("*", saga)]
}

#[cfg(test)]
mod tests {
    use schemas::order_fulfilment::FLOW;

    use super::*;

    #[test]
    fn only_what_is_wrong_in_the_bytes_of_an_opening_is_for_good() {
        let parked = |subject: &str, reason: &str, pointer: &str| Parked {
            parked_at: jiff::Timestamp::UNIX_EPOCH,
            durable: "reserve-inventory".to_owned(),
            reason: reason.to_owned(),
            pointer: pointer.to_owned(),
            message: String::new(),
            deliveries: 1,
            subject: subject.to_owned(),
            sequence: 1,
            released: None,
        };
        let is_for_good =
            |reason, pointer| is_for_good(&FLOW, &parked("orders.placed.A1", reason, pointer));
        for reason in Reason::KNOWN {
            for pointer in ["", "/lines/0"] {
                assert_eq!(is_for_good(reason.code(), pointer), reason.is_of_its_bytes());
            }
        }
        assert!(is_for_good("mixed-currencies", "/lines/1/price"), "a rule of the event");
        assert!(!is_for_good("what-a-newer-worker-says", ""), "it proves nothing");
        let later = parked("orders.inventory.A1", "not-json", "");
        assert!(!super::is_for_good(&FLOW, &later), "a worker wrote it, and may be mended");
    }
}
