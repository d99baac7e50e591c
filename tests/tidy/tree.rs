//! The files of this project, and how a rule says what it found in them.

use std::path::{Path, PathBuf};

/// A text file; its path is relative to the root, with `/`.
pub(crate) struct File {
    pub(crate) path: String,
    pub(crate) text: String,
}

impl File {
    /// Numbered from 1.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(at, line)| (at + 1, line))
    }

    /// Whether it is a test, or what tests share.
    pub(crate) fn is_test(&self) -> bool {
        self.path.starts_with("tests/") || self.path.contains("/tests/")
    }
}

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every text file whose name ends so, in a fixed order.
pub(crate) fn files(ends: &[&str]) -> Vec<File> {
    files_that(|path| ends.iter().any(|end| path.ends_with(end)))
}

/// Every file whose name has no extension: scripts, and such as `Dockerfile`.
pub(crate) fn files_without_extension() -> Vec<File> {
    files_that(|path| Path::new(path).extension().is_none())
}

fn files_that(wanted: impl Fn(&str) -> bool) -> Vec<File> {
    let mut found = Vec::new();
    collect(&root(), "", &mut |path| {
        if wanted(path) {
            found.push(read(path));
        }
    });
    found
}

/// # Panics
/// When there is no such text file.
pub(crate) fn read(path: &str) -> File {
    let text = std::fs::read_to_string(root().join(path));
    File { path: path.to_owned(), text: text.unwrap_or_else(|error| panic!("{path}: {error}")) }
}

/// Names in a folder, sorted; empty where there is none.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<_> =
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

fn collect(folder: &Path, path: &str, found: &mut dyn FnMut(&str)) {
    for name in names(folder) {
        let below = folder.join(&name);
        let path = if path.is_empty() { name.clone() } else { format!("{path}/{name}") };
        // Caches, what is built, and git's own.
        let ours = !name.starts_with('.') || name == ".ci";
        if below.is_dir() && !below.is_symlink() && ours && path != "target" {
            collect(&below, &path, found);
        } else if below.is_file() {
            found(&path);
        }
    }
}

/// # Panics
/// When a rule has found anything; shows all of it.
pub(crate) fn assert_tidy(findings: &[String]) {
    assert!(findings.is_empty(), "{} findings:\n  {}", findings.len(), findings.join("\n  "));
}
