//! The folder of a projection: which file serves, which are being built, and that no other process
//! writes them.
//!
//! `orders.db` is a symbolic link to the file that serves, and changes in one step. A file has a
//! name of its own for ever, because SQLite would take the write-ahead log of one file for that of
//! another of the same name.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crate::read_model::ReadModel;
use crate::store::{Checkpoint, look_into};

/// Replicas on one folder, at most: each takes the first place that no other has.
const PLACES: u32 = 64;

/// Ranges of the log to be read with care, at most.
pub(crate) const MOST_RANGES: usize = 64;

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the folder {} cannot be used: {source}", path.display())]
pub struct ShelfError {
    path: PathBuf,
    source: io::Error,
}

/// One replica's folder, locked as long as this value lives.
#[derive(Debug)]
pub(crate) struct Shelf {
    folder: PathBuf,
    model: &'static ReadModel,
    /// Number of the newest file.
    newest: u64,
    _lock: File,
}

impl Shelf {
    /// Takes the first free place in `folder`, and deletes what no complete build has left there.
    pub(crate) fn open(folder: &Path, model: &'static ReadModel) -> Result<Self, ShelfError> {
        let fail = |path: &Path| {
            let path = path.to_owned();
            move |source| ShelfError { path, source }
        };
        for place in 0..PLACES {
            let folder = folder.join(place.to_string());
            std::fs::create_dir_all(&folder).map_err(fail(&folder))?;
            let lock = File::create(folder.join("lock")).map_err(fail(&folder))?;
            match lock.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => continue,
                Err(TryLockError::Error(error)) => return Err(fail(&folder)(error)),
            }
            let mut shelf = Self { folder, model, newest: 0, _lock: lock };
            shelf.clean();
            return Ok(shelf);
        }
        let source = io::Error::other(format!("{PLACES} other processes use it"));
        Err(fail(folder)(source))
    }

    /// The file that serves, and what it says of itself; `None` if there is none.
    pub(crate) fn current(&self) -> Option<(PathBuf, Checkpoint)> {
        let name = std::fs::read_link(self.link()).ok()?;
        let path = self.folder.join(name);
        Some((path.clone(), look_into(&path, self.model)?))
    }

    /// A path that no file has had.
    pub(crate) fn fresh(&mut self) -> PathBuf {
        self.newest += 1;
        self.folder.join(format!("{}-{}.db", self.model.name, self.newest))
    }

    /// From now on, this complete file serves.
    pub(crate) fn publish(&self, path: &Path) -> Result<(), ShelfError> {
        let fail = |source| ShelfError { path: path.to_owned(), source };
        let name = path.file_name().unwrap_or_default();
        let new = self.folder.join(format!("{}.db.new", self.model.name));
        let _ = std::fs::remove_file(&new);
        std::os::unix::fs::symlink(name, &new).map_err(fail)?;
        std::fs::rename(&new, self.link()).map_err(fail)?;
        File::open(&self.folder).and_then(|folder| folder.sync_all()).map_err(fail)
    }

    pub(crate) fn link(&self) -> PathBuf {
        self.folder.join(format!("{}.db", self.model.name))
    }

    /// Deletes every file but the one that serves.
    pub(crate) fn clean(&mut self) {
        let serves = std::fs::read_link(self.link()).ok();
        let serves = serves.as_deref().and_then(Path::to_str).unwrap_or_default();
        let prefix = format!("{}-", self.model.name);
        for entry in std::fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some((number, _)) =
                name.strip_prefix(&prefix).and_then(|rest| rest.split_once(".db"))
            else {
                continue;
            };
            self.newest = self.newest.max(number.parse().unwrap_or(0));
            if serves.is_empty() || !name.starts_with(serves) {
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }

    /// Ranges of the log, the end excluded, that a connection did not survive: they outlive this
    /// process, because it may end with its connection.
    pub(crate) fn ranges(&self) -> Vec<(u64, u64)> {
        let text = std::fs::read_to_string(self.folder.join("careful")).unwrap_or_default();
        let range = |line: &str| {
            let (from, to) = line.split_once(' ')?;
            Some((from.parse().ok()?, to.parse().ok()?))
        };
        text.lines().filter_map(range).collect()
    }

    pub(crate) fn keep_ranges(&self, ranges: &[(u64, u64)]) {
        let text: String = ranges.iter().map(|(from, to)| format!("{from} {to}\n")).collect();
        if let Err(error) = std::fs::write(self.folder.join("careful"), text) {
            tracing::warn!(%error, "the projection's folder cannot be written to");
        }
    }
}

/// Deletes a file that no longer serves, with what SQLite keeps beside it.
pub(crate) fn discard(path: &Path) {
    for end in ["", "-wal", "-shm"] {
        let mut path = path.to_owned().into_os_string();
        path.push(end);
        let _ = std::fs::remove_file(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static MODEL: ReadModel = ReadModel {
        name: "things",
        version: 1,
        readable_from: 1,
        tables: &[],
        indexes: &[],
        apply: |_, _| {},
    };

    #[test]
    fn each_process_has_a_folder_of_its_own_and_a_free_one_is_taken_again() {
        let folder = tempfile::tempdir().unwrap();
        let first = Shelf::open(folder.path(), &MODEL).unwrap();
        let second = Shelf::open(folder.path(), &MODEL).unwrap();
        assert_ne!(first.link(), second.link());
        let link = first.link();
        drop(first);
        assert_eq!(Shelf::open(folder.path(), &MODEL).unwrap().link(), link);
    }

    #[test]
    fn what_no_complete_build_left_is_deleted_and_a_name_is_never_used_twice() {
        let folder = tempfile::tempdir().unwrap();
        let mut shelf = Shelf::open(folder.path(), &MODEL).unwrap();
        let (serves, broken) = (shelf.fresh(), shelf.fresh());
        for path in [&serves, &broken] {
            std::fs::write(path, "").unwrap();
        }
        shelf.publish(&serves).unwrap();
        drop(shelf);
        let mut shelf = Shelf::open(folder.path(), &MODEL).unwrap();
        assert!(serves.exists() && !broken.exists());
        let fresh = shelf.fresh();
        assert!(fresh != serves && fresh != broken);
    }

    #[test]
    fn a_range_outlives_its_process() {
        let folder = tempfile::tempdir().unwrap();
        let shelf = Shelf::open(folder.path(), &MODEL).unwrap();
        shelf.keep_ranges(&[(1, 5), (1_000, 2_024)]);
        drop(shelf);
        let shelf = Shelf::open(folder.path(), &MODEL).unwrap();
        assert_eq!(shelf.ranges(), [(1, 5), (1_000, 2_024)]);
    }
}
