//! The reading side of a file: short transactions on connections that are kept, each within a
//! limit of time.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::shelf::discard;
use crate::store::{Checkpoint, read_checkpoint};

/// Connections kept for the next reader.
const KEPT: usize = 8;

/// Why there is no answer from the rows.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// No file serves yet, or any longer: see [`Status`](crate::Status).
    #[error("the projection is being built")]
    NotBuilt,
    /// It took longer than it may.
    #[error("the query took too long")]
    TooSlow,
    #[error("SQLite: {0}")]
    Sqlite(#[from] rusqlite::Error),
}

/// A complete file. When the last user of one that is retired lets go of it, it is deleted.
#[derive(Debug)]
pub(crate) struct Readable {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
    retired: AtomicBool,
}

impl Readable {
    pub(crate) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), idle: Mutex::default(), retired: AtomicBool::new(false) }
    }

    /// It no longer serves.
    pub(crate) fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
    }

    /// Blocks; reads in one transaction, with the place that its rows are of.
    pub(crate) fn read<T>(
        &self,
        limit: Duration,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<(T, Checkpoint), ReadError> {
        let idle = self.idle.lock().map_or(None, |mut idle| idle.pop());
        let mut connection = match idle {
            Some(connection) => connection,
            // A file that no longer serves may be deleted.
            None => open(&self.path).map_err(|error| match self.path.exists() {
                true => ReadError::Sqlite(error),
                false => ReadError::NotBuilt,
            })?,
        };
        // Counted in instructions of SQLite's machine, a thousand of which take some microseconds.
        let began = now();
        connection.progress_handler(1_000, Some(move || now().duration_since(began) > limit))?;
        let transaction = connection.transaction()?;
        let read =
            read_checkpoint(&transaction).and_then(|place| Ok((query(&transaction)?, place)));
        drop(transaction);
        let read = read.map_err(|error| match error.sqlite_error_code() {
            Some(ErrorCode::OperationInterrupted) => ReadError::TooSlow,
            Some(_) | None => ReadError::Sqlite(error),
        })?;
        if let Ok(mut idle) = self.idle.lock()
            && idle.len() < KEPT
        {
            idle.push(connection);
        }
        Ok(read)
    }
}

#[expect(clippy::disallowed_methods, reason = "on a blocking thread, where no test pauses time")]
fn now() -> std::time::Instant {
    std::time::Instant::now()
}

fn open(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.execute_batch("PRAGMA query_only = ON; PRAGMA cache_size = -8192;")?;
    connection.busy_timeout(Duration::from_secs(1))?;
    Ok(connection)
}

impl Drop for Readable {
    fn drop(&mut self) {
        if self.retired.load(Ordering::Relaxed) {
            discard(&self.path);
        }
    }
}
