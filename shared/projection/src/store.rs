//! One SQLite file: the rows of a projection and the place in the log that they are of.
//!
//! Rows and checkpoint change in one transaction, so the file is at any moment exactly the fold of
//! the log up to its checkpoint, whenever the process is killed. After a power cut it may be of an
//! earlier place, never of none.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use quadrille::broker::Stored;
use quadrille::failpoint;
use quadrille::ids::Direction;
use quadrille::log::token::Token;
use rusqlite::{
    Connection, ErrorCode, OpenFlags, OptionalExtension, TransactionBehavior, params,
    params_from_iter,
};

use crate::fold::Fold;
use crate::read_model::ReadModel;
use crate::story::facts;

/// Bytes that the write-ahead log is cut back to after a checkpoint of SQLite.
const WAL_LIMIT: u64 = 16 << 20;

/// The oldest SQLite that this relies on: before it, a race of a writer and a checkpoint of the
/// write-ahead log could damage a file (3.51.3, "WAL-reset bug").
const OLDEST_SQLITE: i32 = 3_051_003;

/// What every projection has, whatever its read model.
pub const TABLES: &str = "
CREATE TABLE checkpoint (
  only INTEGER PRIMARY KEY CHECK (only = 1),
  model TEXT NOT NULL, version INTEGER NOT NULL,
  incarnation INTEGER NOT NULL,  -- when the stream was created, in nanoseconds since 1970
  sequence INTEGER NOT NULL,     -- of the last message that these rows are of; 0 before the first
  subject TEXT NOT NULL, event TEXT NOT NULL, stored_at INTEGER NOT NULL,  -- of that message
  skipped INTEGER NOT NULL       -- rows of the table skipped
);
CREATE TABLE events (
  sequence INTEGER PRIMARY KEY, saga TEXT NOT NULL, slot TEXT NOT NULL,
  kind TEXT NOT NULL,            -- forward, refusal, undo, or alien: it counts for nothing
  type TEXT NOT NULL, source TEXT NOT NULL, reason TEXT, event TEXT,
  stored_at INTEGER NOT NULL,    -- microseconds since 1970, by the broker's clock
  cause INTEGER, attempt INTEGER, wait_us INTEGER, work_us INTEGER,
  state TEXT, waits_for TEXT     -- of the saga, once this had happened
);
CREATE INDEX events_saga ON events (saga);
CREATE TABLE skipped (           -- messages that could not be applied, or only in part
  sequence INTEGER PRIMARY KEY, subject TEXT NOT NULL,
  reason TEXT NOT NULL, pointer TEXT NOT NULL, message TEXT NOT NULL, stored_at INTEGER NOT NULL
);
";

/// The place in the log that the rows of a file are of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    pub(crate) version: u32,
    pub(crate) place: Token,
    /// The message at that place, to notice a log that was cut and written on. Empty before the
    /// first.
    pub(crate) subject: String,
    pub(crate) event: String,
    /// Nanoseconds since 1970; 0 before the first.
    pub(crate) stored_at: i64,
    pub(crate) skipped: u64,
}

impl Checkpoint {
    /// Whether this is the message of the checkpoint. The time alone tells any two messages of one
    /// stream apart; the rest is for a store that was edited.
    pub(crate) fn is_of(&self, stored: &Stored) -> bool {
        self.place.sequence == stored.sequence
            && self.subject == stored.subject
            && self.stored_at == nanoseconds(stored.stored_at)
    }

    /// When the broker stored the message; `None` before the first.
    pub(crate) fn time(&self) -> Option<Timestamp> {
        let stored_at = (self.stored_at != 0).then_some(self.stored_at)?;
        Timestamp::from_nanosecond(stored_at.into()).ok()
    }
}

/// 63 bits last until the year 2262.
fn nanoseconds(time: Timestamp) -> i64 {
    i64::try_from(time.as_nanosecond()).unwrap_or(i64::MAX)
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error("SQLite: {0}")]
    Sqlite(#[from] rusqlite::Error),
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: std::io::Error },
    #[error("the log was replaced by another one during the build")]
    OtherLog,
}

impl StoreError {
    /// No later try can do better with this file.
    pub(crate) fn is_damage(&self) -> bool {
        matches!(self, Self::Sqlite(error) if is_damage(error))
    }
}

/// SQLite found something in the file that it cannot have written.
pub(crate) fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

/// The writing side of a file; there is one.
#[derive(Debug)]
pub(crate) struct Store {
    connection: Connection,
    path: PathBuf,
    pub(crate) fold: Fold,
    pub(crate) checkpoint: Checkpoint,
    model: &'static ReadModel,
}

/// # Errors
/// When the SQLite that is compiled in is too old.
pub(crate) fn require_sqlite() -> Result<(), String> {
    let (number, version) = (rusqlite::version_number(), rusqlite::version());
    if number >= OLDEST_SQLITE {
        return Ok(());
    }
    Err(format!("SQLite is {version}, but at least 3.51.3 is needed: build with `bundled`"))
}

impl Store {
    /// A new file, without its indexes, that a crash may damage: a build that does not end begins
    /// again.
    pub(crate) fn create(
        path: &Path,
        fold: Fold,
        model: &'static ReadModel,
        incarnation: Timestamp,
    ) -> Result<Self, StoreError> {
        let connection = Connection::open(path)?;
        // The 48 MB of its cache are as fast as more are, and lie beside the rows that serve.
        connection.execute_batch(
            "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA locking_mode = EXCLUSIVE; \
             PRAGMA cache_size = -49152;",
        )?;
        connection.execute_batch(TABLES)?;
        connection.execute_batch(&model.tables.concat())?;
        connection.execute(
            "INSERT INTO checkpoint VALUES (1, ?1, ?2, ?3, 0, '', '', 0, 0)",
            params![model.name, model.version, nanoseconds(incarnation)],
        )?;
        connection.set_prepared_statement_cache_capacity(64);
        let checkpoint = read_checkpoint(&connection)?;
        Ok(Self { connection, path: path.to_owned(), fold, checkpoint, model })
    }

    /// A file that is complete.
    pub(crate) fn open(
        path: &Path,
        fold: Fold,
        model: &'static ReadModel,
    ) -> Result<Self, StoreError> {
        let connection = Connection::open(path)?;
        connection.execute_batch(&format!(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -16384; \
             PRAGMA journal_size_limit = {WAL_LIMIT};"
        ))?;
        connection.set_prepared_statement_cache_capacity(64);
        let checkpoint = read_checkpoint(&connection)?;
        Ok(Self { connection, path: path.to_owned(), fold, checkpoint, model })
    }

    /// Adds the indexes, writes all to the disk, and opens the file as a complete one.
    pub(crate) fn finish(self) -> Result<Self, StoreError> {
        self.connection.execute_batch(&self.model.indexes.concat())?;
        let Self { connection, path, fold, model, .. } = self;
        connection.close().map_err(|(_, error)| error)?;
        let synced = std::fs::File::open(&path).and_then(|file| file.sync_all());
        synced.map_err(|source| StoreError::File { path: path.clone(), source })?;
        Self::open(&path, fold, model)
    }

    /// Applies messages that follow the checkpoint, in stream order, all or none of them.
    pub(crate) fn apply(&mut self, messages: &[Stored]) -> Result<(), StoreError> {
        match self.try_apply(messages) {
            Ok(checkpoint) => {
                self.checkpoint = checkpoint;
                Ok(())
            }
            Err(error) => {
                self.fold.forget();
                Err(error)
            }
        }
    }

    fn try_apply(&mut self, messages: &[Stored]) -> Result<Checkpoint, StoreError> {
        let mut checkpoint = self.checkpoint.clone();
        let Some(last) = messages.last() else { return Ok(checkpoint) };
        let fold = &mut self.fold;
        let behavior = TransactionBehavior::Immediate;
        let transaction = self.connection.transaction_with_behavior(behavior)?;
        for stored in messages {
            let made = fold.message(stored, |saga| facts(&transaction, saga))?;
            for write in &made.writes {
                let mut statement = transaction.prepare_cached(write.sql)?;
                statement.execute(params_from_iter(&write.values))?;
            }
            checkpoint.skipped += u64::from(made.skipped);
            checkpoint.event = made.event;
        }
        checkpoint.place.sequence = last.sequence;
        checkpoint.subject.clone_from(&last.subject);
        checkpoint.stored_at = nanoseconds(last.stored_at);
        failpoint::hit(Direction::Run, "rows-before-checkpoint");
        write_checkpoint(&transaction, &checkpoint)?;
        transaction.commit()?;
        Ok(checkpoint)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes of the write-ahead log.
    pub(crate) fn wal_bytes(&self) -> u64 {
        let mut path = self.path.clone().into_os_string();
        path.push("-wal");
        std::fs::metadata(path).map_or(0, |file| file.len())
    }
}

pub(crate) fn read_checkpoint(connection: &Connection) -> rusqlite::Result<Checkpoint> {
    let mut statement = connection.prepare_cached(
        "SELECT version, incarnation, sequence, subject, event, stored_at, skipped \
         FROM checkpoint",
    )?;
    statement.query_row([], |row| {
        let incarnation: i64 = row.get(1)?;
        let created = Timestamp::from_nanosecond(incarnation.into());
        let created = created.unwrap_or(Timestamp::UNIX_EPOCH);
        Ok(Checkpoint {
            version: row.get(0)?,
            place: Token { created, sequence: row.get(2)? },
            subject: row.get(3)?,
            event: row.get(4)?,
            stored_at: row.get(5)?,
            skipped: row.get(6)?,
        })
    })
}

fn write_checkpoint(connection: &Connection, checkpoint: &Checkpoint) -> rusqlite::Result<()> {
    let Checkpoint { place, subject, event, stored_at, skipped, .. } = checkpoint;
    let mut statement = connection.prepare_cached(
        "UPDATE checkpoint SET sequence = ?1, subject = ?2, event = ?3, stored_at = ?4, \
         skipped = ?5",
    )?;
    statement.execute(params![place.sequence, subject, event, stored_at, skipped]).map(drop)
}

/// What a file says of itself, if it is a complete projection of this name.
pub(crate) fn look_into(path: &Path, model: &ReadModel) -> Option<Checkpoint> {
    // Without creating it, where the link leads nowhere.
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE).ok()?;
    let name: Option<String> = connection
        .query_row("SELECT model FROM checkpoint", [], |row| row.get(0))
        .optional()
        .ok()?;
    if name.as_deref() != Some(model.name) {
        return None;
    }
    read_checkpoint(&connection).ok()
}
