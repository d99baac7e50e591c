//! Quadrille on brokers that others have set up: their logins and certificates, their contexts, and
//! their streams.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod logins;
mod contexts;
mod dev;
mod demo;
mod neighbours;
mod permissions;
mod secrets;
mod shop;

use std::path::{Path, PathBuf};

/// A certificate, key, or operator of these tests; `fixtures/certificates.sh` says how they were
/// made.
fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("connect/fixtures").join(name)
}

fn path(name: &str) -> String {
    fixture(name).display().to_string()
}
