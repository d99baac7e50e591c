//! The contract of this repository's sagas: the order saga's flow table, its events and its ids.
//!
//! Plain types: no async runtime, no broker, no input or output. Read [`order_fulfilment`] first:
//! it is the whole saga on one screen.

pub mod order_fulfilment;
pub mod stock;
pub mod generated;
mod sku;

use quadrille_vocabulary::{Contract, Flow};

pub use sku::Sku;

macro_rules! flows {
    ($($saga:ident),+) => {
        /// Every flow of this repository.
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
