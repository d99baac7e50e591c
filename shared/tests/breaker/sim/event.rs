//! What happens in the simulation, in the order of time.

use std::time::Duration;

use quadrille::breaker::class::Class;
use quadrille::breaker::fleet::Entry;
use quadrille::breaker::machine::Ticket;

pub(super) enum Event {
    Arrive,
    Queue(u64, bool),
    Finish { replica: usize, life: u64, ticket: Ticket, class: Class },
    See { replica: usize, entry: Entry, revision: u64 },
    Tick { replica: usize, at: Duration },
    Kill(usize),
    Unreadable(bool),
    StopArriving,
}

pub(super) struct Due(pub(super) Duration, pub(super) u64, pub(super) Event);

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        (self.0, self.1) == (other.0, other.1)
    }
}
impl Eq for Due {}
impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.0, self.1).cmp(&(other.0, other.1))
    }
}
