//! A running projection, as those see it who ask it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use quadrille::Flow;
use quadrille::broker::Broker;
use quadrille::log::token::Token;
use rusqlite::Connection;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::timeout;

use crate::build::blocking;
use crate::pages::Pages;
use crate::read_model::ReadModel;
use crate::reader::{ReadError, Readable};
use crate::runner::Runner;
use crate::shelf::{Shelf, ShelfError};
use crate::status::{NotThere, Status};
use crate::store::{is_damage, require_sqlite};

/// Queries at once; further ones wait.
pub(crate) const READERS: usize = 8;

/// Why a projection cannot start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{0}")]
    Sqlite(String),
    #[error(transparent)]
    Shelf(#[from] ShelfError),
}

/// A running projection; cheap to clone.
#[derive(Clone)]
pub struct Projection(Arc<Shared>);

/// What the runner keeps up to date, and others read.
pub(crate) struct Shared {
    pub(crate) flow: &'static Flow,
    pub(crate) model: &'static ReadModel,
    broker: Arc<dyn Broker>,
    pub(crate) status: watch::Sender<Status>,
    pub(crate) serving: RwLock<Option<Arc<Readable>>>,
    /// Somebody waits for a place: look at the log.
    pub(crate) look: Notify,
    pub(crate) rebuild: Notify,
    /// A reader found that the file that serves is damaged.
    pub(crate) damaged: Notify,
    pub(crate) waiting: AtomicUsize,
    readers: Arc<Semaphore>,
    /// The symbolic link to the file that serves.
    link: PathBuf,
}

/// Opens the projection of `model` in a folder; several replicas may share one. Nothing is read
/// before [`Runner::run`].
///
/// # Errors
/// When the folder cannot be written to, or SQLite is too old.
pub fn open(
    flow: &'static Flow,
    model: &'static ReadModel,
    broker: Arc<dyn Broker>,
    folder: &Path,
) -> Result<(Projection, Runner), OpenError> {
    require_sqlite().map_err(OpenError::Sqlite)?;
    let shelf = Shelf::open(folder, model)?;
    let shared = Arc::new(Shared {
        flow,
        model,
        broker: broker.clone(),
        status: watch::Sender::new(Status::begin()),
        serving: RwLock::default(),
        look: Notify::new(),
        rebuild: Notify::new(),
        damaged: Notify::new(),
        waiting: AtomicUsize::new(0),
        readers: Arc::new(Semaphore::new(READERS)),
        link: shelf.link(),
    });
    let pages = Pages::new(broker, flow.stream, shelf);
    Ok((Projection(shared.clone()), Runner { shared, pages }))
}

impl Projection {
    pub fn flow(&self) -> &'static Flow {
        self.0.flow
    }

    pub fn model(&self) -> &'static ReadModel {
        self.0.model
    }

    /// The file that serves, for `sqlite3 -readonly`: a symbolic link.
    pub fn file(&self) -> &Path {
        &self.0.link
    }

    /// How far it is now.
    pub fn status(&self) -> Status {
        self.0.status.borrow().clone()
    }

    /// How far it is, and every change of that.
    pub fn changes(&self) -> watch::Receiver<Status> {
        self.0.status.subscribe()
    }

    /// Resolves once a file serves.
    pub async fn serves(&self) {
        let serves = |status: &Status| status.as_of.is_some();
        let _ = self.0.status.subscribe().wait_for(serves).await;
    }

    /// Builds the rows anew, beside those that serve, and swaps them in; nothing if that is under
    /// way.
    pub fn rebuild(&self) {
        self.0.rebuild.notify_one();
    }

    /// Reads in one transaction, and says which place its rows are of.
    ///
    /// # Errors
    /// When nothing serves, or it takes longer than `limit`.
    pub async fn read<T: Send + 'static>(
        &self,
        limit: Duration,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<(T, Token), ReadError> {
        let place = timeout(limit, self.0.readers.clone().acquire_owned()).await;
        let place = place.map_err(|_| ReadError::TooSlow)?;
        let serving = self.0.serving.read().ok().and_then(|serving| serving.clone());
        let serving = serving.ok_or(ReadError::NotBuilt)?;
        let read = blocking(move || {
            // A caller may go away meanwhile; the query goes on, and keeps its place.
            let _place = place;
            serving.read(limit, query)
        });
        let (read, checkpoint) = read.await.inspect_err(|error| {
            if matches!(error, ReadError::Sqlite(error) if is_damage(error)) {
                self.0.damaged.notify_one();
            }
        })?;
        Ok((read, checkpoint.place))
    }

    /// Reads a token; a bare sequence means the log that is there now.
    ///
    /// # Errors
    /// When it is none.
    pub fn token(&self, text: &str) -> Result<Token, quadrille::log::token::InvalidToken> {
        let status = self.status();
        let created = status.as_of.map(|place| place.created).or(status.log);
        Token::parse(text, created.unwrap_or(jiff::Timestamp::UNIX_EPOCH))
    }

    /// Waits until the rows are of this place or a later one.
    ///
    /// # Errors
    /// When that takes longer than `limit`, or the place is in a log that is no longer there.
    pub async fn wait(&self, wanted: Token, limit: Duration) -> Result<(), NotThere> {
        let _waiting = Waiting::new(&self.0.waiting);
        let mut status = self.0.status.subscribe();
        let there = |status: &Status| {
            let is = |at: Token| at.created == wanted.created && at.sequence >= wanted.sequence;
            status.as_of.is_some_and(is)
        };
        if there(&status.borrow()) {
            return Ok(());
        }
        self.0.look.notify_one();
        let reached = async {
            // A log that was made anew since is noticed here before the rows are built from it.
            if status.borrow().as_of.is_none_or(|at| at.created != wanted.created)
                && let Ok(Some(log)) = self.0.broker.state(self.0.flow.stream).await
                && log.incarnation.created != wanted.created
            {
                return Err(NotThere::OldLog { wanted, status: Box::new(self.status()) });
            }
            status.wait_for(there).await.map(drop).map_err(|_| self.behind(wanted))
        };
        timeout(limit, reached).await.unwrap_or_else(|_| Err(self.behind(wanted)))
    }

    fn behind(&self, wanted: Token) -> NotThere {
        NotThere::Behind { wanted, status: Box::new(self.status()) }
    }
}

/// Counts those that wait.
struct Waiting<'c>(&'c AtomicUsize);

impl<'c> Waiting<'c> {
    fn new(count: &'c AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
