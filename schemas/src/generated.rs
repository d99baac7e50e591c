//! The committed files that are derived from the types: JSON Schemas, and the README's picture.
//!
//! Only text is made here. `cargo run --release -p schemas --example generate` writes it, and a
//! test compares it with what is committed.

use crate::CONTRACTS;

/// Writes everything that is generated; a drift test names it when it fails.
pub const COMMAND: &str = "cargo run --release -p schemas --example generate";

const BEGIN: &str = "<!-- flow: generated -->";
const END: &str = "<!-- end -->";

/// A file and what must stand in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Within the folder of this crate: `json/order_fulfilment/payment.charged.v1.json`.
    pub path: String,
    pub content: String,
}

/// One JSON Schema for each event type of each flow.
pub fn schemas() -> Vec<File> {
    let mut files = Vec::new();
    for contract in CONTRACTS {
        for kind in contract.events {
            let schema = serde_json::to_string_pretty(&kind.schema()).expect("a schema is JSON");
            let path = format!("json/{}", contract.file(kind.event_type()));
            files.push(File { path, content: schema + "\n" });
        }
    }
    files
}

/// `readme` with the pictures of all flows between the markers, which are added at its end where
/// there are none.
pub fn with_pictures(readme: &str) -> String {
    let pictures = CONTRACTS.iter().map(|contract| contract.flow.picture());
    let block: String = pictures.map(|picture| format!("```mermaid\n{picture}```\n")).collect();
    let (before, after) = match readme.split_once(BEGIN) {
        Some((before, rest)) => (before, rest.split_once(END).map_or(rest, |(_, after)| after)),
        None => (readme, "\n"),
    };
    format!("{before}{BEGIN}\n{block}{END}{after}")
}
