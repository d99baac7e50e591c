//! Payment and carrier services to test against, and the ground truth of what they did.
//!
//! A request that changes something goes through `exchange`: faults, then the idempotency key,
//! then a decision of `payment` or `carrier`, which `world` writes down before it takes effect.
//! Nothing here knows Quadrille: the services would serve any client, so that they can judge ours.

mod answer;
mod calls;
mod cards;
mod carrier;
mod control;
mod exchange;
mod faults;
mod journal;
mod keys;
mod ledger;
mod operation;
mod payment;
mod server;
mod world;

pub use cards::{ACCEPTED_CARDS, DECLINED_CARDS, DeclinedCard};
pub use carrier::{REFUSED_COUNTRY, REFUSED_POSTCODE};
pub use keys::KEY_LIFETIME;
pub use server::{Options, serve};
