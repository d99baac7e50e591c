//! How much of the log is left for new orders: the last tenth is for the events of those that are
//! in it, because an order that is half done must be able to end.

use quadrille::broker::Broker;
use quadrille::nats::NatsBroker;
use schemas::order_fulfilment::FLOW;

/// What the server keeps beside the bytes of an event, at most.
const BESIDE: u64 = 200;

/// Why there is no room, although there is some.
pub(super) const RESERVED: &str = "the log is nine tenths full, and the rest is for the orders in \
                                   it: `quadrille topology apply --max-bytes SIZE --write` makes \
                                   it larger";

/// Bytes that may be sent before the next look.
#[derive(Debug, Default)]
pub(super) struct Room {
    bytes: u64,
}

impl Room {
    /// Whether there is room for an order of so many bytes. A log that gives no answer has room:
    /// the publish finds out by itself.
    pub(super) async fn takes(&mut self, broker: &NatsBroker, bytes: u64) -> bool {
        let bytes = bytes + BESIDE;
        if self.bytes < bytes {
            self.bytes = match broker.state(FLOW.stream).await {
                Ok(Some(state)) => state.max_bytes.map_or(u64::MAX, |most| {
                    let left = (most - most / 10).saturating_sub(state.bytes);
                    // Others write too, the workers above all.
                    left.min((most / 100).max(bytes))
                }),
                Ok(None) | Err(_) => u64::MAX / 2,
            };
        }
        let takes = self.bytes >= bytes;
        self.bytes = self.bytes.saturating_sub(bytes);
        takes
    }
}
