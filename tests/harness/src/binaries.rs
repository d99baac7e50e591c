//! Where programs are: the ones that a script of `ops/` has built or found, or those that cargo
//! left beside this one.

use std::path::{Path, PathBuf};

use anyhow::Context;

/// Which build of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Build {
    /// As it is shipped.
    Shipped,
    /// With failpoints compiled in.
    Failpoints,
}

/// The file of a program.
///
/// # Panics
/// When there is no such program; says how to get it.
pub fn program(build: Build, name: &str) -> PathBuf {
    let program = folder(build).join(name);
    assert!(
        program.is_file(),
        "there is no {}: run `ops/test`, which builds it",
        program.display()
    );
    program
}

/// `QUADRILLE_BIN_DIR` and `QUADRILLE_FAILPOINT_BIN_DIR`, or the folder of this program and
/// `failpoints` beside it.
#[expect(clippy::disallowed_methods, reason = "tests have no config; this is its one reader")]
pub fn folder(build: Build) -> PathBuf {
    let named = std::env::var_os(match build {
        Build::Shipped => "QUADRILLE_BIN_DIR",
        Build::Failpoints => "QUADRILLE_FAILPOINT_BIN_DIR",
    });
    named.map_or_else(|| beside_this_program(build), PathBuf::from)
}

/// `target/release`, or `target/failpoints` beside it.
fn beside_this_program(build: Build) -> PathBuf {
    let this = std::env::current_exe().expect("a running program has a path");
    let folder = this.parent().expect("a program is in a folder");
    let release = if folder.ends_with("deps") { folder.parent().unwrap_or(folder) } else { folder };
    match build {
        Build::Shipped => release.to_owned(),
        Build::Failpoints => release.parent().unwrap_or_else(|| Path::new(".")).join("failpoints"),
    }
}

/// `QUADRILLE_NATS_SERVER`, or the one on `PATH`, or the one in the project's cache.
///
/// # Errors
/// When there is none; says how to get one.
#[expect(clippy::disallowed_methods, reason = "tests have no config; this is its one reader")]
pub fn nats_server() -> anyhow::Result<PathBuf> {
    if let Ok(named) = std::env::var("QUADRILLE_NATS_SERVER") {
        return Ok(named.into());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let cached = root.join(".cache/nats-server/2.15.1/bin/nats-server");
    std::env::split_paths(&path)
        .map(|folder| folder.join("nats-server"))
        .chain([cached])
        .find(|program| program.is_file())
        .context(
            "there is no nats-server: run `ops/test`, which fetches one, or name one in \
             QUADRILLE_NATS_SERVER",
        )
}
