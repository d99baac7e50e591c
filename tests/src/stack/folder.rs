//! Where the processes of a stack write: removed with the test, kept if the test fails.

use std::path::Path;

use tempfile::TempDir;

#[derive(Debug)]
pub(super) struct Folder(TempDir);

impl Folder {
    pub(super) fn new() -> Self {
        Self(TempDir::with_prefix("quadrille-").expect("a temporary directory"))
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(super) fn keep(&mut self) -> &Path {
        self.0.disable_cleanup(true);
        self.0.path()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("what the processes said is in {}", self.keep().display());
        }
    }
}
