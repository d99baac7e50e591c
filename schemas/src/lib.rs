//! The contract of Quadrille's sagas: events, ids, money and the flow table.
//!
//! Plain types: no async runtime, no broker, no input or output, so that any tool may read the log
//! with this crate alone. Read [`order_fulfilment`] first: it is the whole saga on one screen.

pub mod order_fulfilment;

pub mod event;
pub mod flow;
pub mod generated;
pub mod ids;
pub mod money;

pub use event::{BadData, Event, Reason, Refusal};
pub use flow::{Flow, Slot};
pub use ids::{IdempotencyKey, SagaId, Sku};
pub use money::{Currency, Money};

/// A flow with the types of its events.
#[derive(Debug, Clone, Copy)]
pub struct Contract {
    /// The module of the flow, and the folder of its schemas and samples: `order_fulfilment`.
    pub name: &'static str,
    pub flow: &'static Flow,
    /// Every type the flow's table names, each once.
    pub events: &'static [event::Kind],
}

impl Contract {
    /// The file of one event type, within `json/` and `samples/`: without the saga's name, so that
    /// `order.placed.v1` is `order_fulfilment/placed.v1.json`.
    pub fn file(&self, event_type: &str) -> String {
        let own = event_type.strip_prefix(self.flow.saga).and_then(|rest| rest.strip_prefix('.'));
        format!("{}/{}.json", self.name, own.unwrap_or(event_type))
    }
}

macro_rules! flows {
    ($($saga:ident),+) => {
        /// Every flow this build knows.
        pub static FLOWS: &[&Flow] = &[$(&$saga::FLOW),+];

        /// The same flows, with their events.
        pub static CONTRACTS: &[Contract] = &[$(Contract {
            name: stringify!($saga),
            flow: &$saga::FLOW,
            events: $saga::events::ALL,
        }),+];
    };
}

// A new saga is one new file and one word here.
flows!(order_fulfilment);
