//! The committed files that are derived from the types: JSON Schemas, and the README's
//! picture and table.
//!
//! This module only makes text. `cargo run --release -p schemas --example generate` writes it, and
//! a test compares it with what is committed.

use quadrille_vocabulary::contract::{File, with_block};

use crate::CONTRACTS;

/// The command that writes everything generated; a drift test names it when it fails.
pub const COMMAND: &str = "cargo run --release -p schemas --example generate";

/// One JSON Schema for each event type of each flow, and for each document of parked messages.
pub fn schemas() -> Vec<File> {
    let events = CONTRACTS.iter().flat_map(|contract| contract.schemas());
    events.chain(quadrille_vocabulary::parked::schemas()).collect()
}

/// `readme` with the picture of every flow and the table of its subjects between their markers. If
/// there are no markers, they are added at its end.
pub fn with_flows(readme: &str) -> String {
    let pictures = CONTRACTS.iter().map(|contract| contract.flow.picture());
    let pictures: String = pictures.map(|it| format!("```mermaid\n{it}```\n")).collect();
    let tables: String = CONTRACTS.iter().map(|contract| contract.flow.table()).collect();
    with_block(&with_block(readme, "flow", &pictures), "subjects", &tables)
}
