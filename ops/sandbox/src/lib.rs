//! Payment, carrier and quote services to test against, and the ground truth of what they did.
//!
//! A request that changes something passes through these modules:
//!
//! 1. `routes` reads it, and knows which service it is for.
//! 2. `exchange` draws its faults and then looks up its idempotency key.
//! 3. `payment` or `carrier` decides, and changes nothing.
//! 4. `world` writes the decision down before it takes effect.
//!
//! The modules are in reading order, and each uses only modules below it.
//! Nothing here knows Quadrille: the services would serve any client, so that they can judge ours.

mod server;

// The paths: those of the services, and those for tests.
mod routes;
mod control;

// A request, from its faults to its effect.
mod exchange;
mod world;
mod request;
mod payment;
mod carrier;
mod quote;
mod decision;

// What the world keeps.
mod faults;
mod calls;
mod journal;
mod keys;
mod ledger;
mod intent;

// The words that all of them use.
mod cards;
mod answer;
mod operation;

pub use cards::{
    ACCEPTED_CARDS, BROKEN_CARDS, DECLINED_CARDS, DeclinedCard, PROCESSING_CARD, UNKNOWN_CUSTOMER,
};
pub use carrier::{REFUSED_COUNTRY, REFUSED_POSTCODE};
pub use keys::KEY_LIFETIME;
pub use server::{Options, serve};
