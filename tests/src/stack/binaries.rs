//! Where the programs under test are: the ones that `ops/test` has built, or those that cargo left
//! beside the test's own.

use std::path::{Path, PathBuf};

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
#[expect(clippy::disallowed_methods, reason = "the tests have no config; this is its one reader")]
pub fn program(build: Build, name: &str) -> PathBuf {
    let named = std::env::var_os(match build {
        Build::Shipped => "QUADRILLE_BIN_DIR",
        Build::Failpoints => "QUADRILLE_FAILPOINT_BIN_DIR",
    });
    let folder = named.map_or_else(|| beside_this_test(build), PathBuf::from);
    let program = folder.join(name);
    assert!(
        program.is_file(),
        "there is no {}: run `ops/test`, which builds it",
        program.display()
    );
    program
}

/// `target/release`, or `target/failpoints` beside it.
fn beside_this_test(build: Build) -> PathBuf {
    let this = std::env::current_exe().expect("a running program has a path");
    let folder = this.parent().expect("a program is in a folder");
    let release = if folder.ends_with("deps") { folder.parent().unwrap_or(folder) } else { folder };
    match build {
        Build::Shipped => release.to_owned(),
        Build::Failpoints => release.parent().unwrap_or_else(|| Path::new(".")).join("failpoints"),
    }
}
