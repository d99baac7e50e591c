//! Where processes write: a temporary folder, removed when its value or this process ends.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::keeper;

#[derive(Debug)]
pub struct Folder {
    inner: TempDir,
}

impl Folder {
    /// # Panics
    /// When there is no folder for temporary files, or it cannot be written to.
    pub fn new(prefix: &str) -> Self {
        let inner = TempDir::with_prefix(prefix).expect("a temporary folder can be made");
        keeper::keep(&inner.path().display().to_string());
        Self { inner }
    }

    pub fn path(&self) -> &Path {
        self.inner.path()
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// It stays when this value goes, so that a reader can look into it.
    pub fn stays(&mut self) {
        self.inner.disable_cleanup(true);
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        keeper::forget(&self.path().display().to_string());
    }
}
