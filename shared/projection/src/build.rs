//! Builds a file from the whole log, beside the one that serves.

use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use quadrille::Flow;
use quadrille::broker::{Page, Stored};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use crate::fold::Fold;
use crate::follow::{Log, compare};
use crate::pages::Pages;
use crate::read_model::ReadModel;
use crate::shelf::discard;
use crate::status::Progress;
use crate::store::{Checkpoint, Store, StoreError};

/// Messages of one transaction: the larger, the fewer pages are written twice.
const TRANSACTION: usize = 8 * crate::pages::MOST;

/// Pages that are read and not yet applied: the next transaction's.
const AHEAD: usize = TRANSACTION / crate::pages::MOST;

/// So often, one after the other, the log must look like another one.
const DOUBTS: u32 = 5;

/// The wait after a page that could not be read.
const RETRY: Duration = Duration::from_millis(200);

/// A file to be built.
pub(crate) struct Build {
    pub(crate) pages: Pages,
    pub(crate) flow: &'static Flow,
    pub(crate) model: &'static ReadModel,
    pub(crate) path: PathBuf,
    /// When the stream was created.
    pub(crate) created: Timestamp,
    /// Messages in the log, as it was at the beginning.
    pub(crate) total: u64,
}

impl Build {
    /// Reads the log to its end; `say` is told how far it is. What is written meanwhile is left to
    /// the follower.
    ///
    /// # Errors
    /// When the file cannot be written; what there is of it is deleted.
    pub(crate) async fn run(self, say: impl Fn(Progress) + Send) -> Result<Store, StoreError> {
        let path = self.path.clone();
        let built = self.try_run(say).await;
        if built.is_err() {
            discard(&path);
        }
        built
    }

    async fn try_run(self, say: impl Fn(Progress) + Send) -> Result<Store, StoreError> {
        let Self { pages, flow, model, path, created, total } = self;
        let began = Instant::now();
        let create = move || Store::create(&path, Fold::new(flow, model), model, created);
        let mut store = blocking(create).await?;
        let mut log = WholeLog { pages, last: None, ended: false };
        let (pages, mut read) = mpsc::channel(AHEAD);
        let reads = async {
            // Nobody takes it once the file cannot be written.
            while let Some(page) = log.next().await? {
                if pages.send(page).await.is_err() {
                    break;
                }
            }
            drop(pages);
            Ok::<_, StoreError>(())
        };
        let writes = async {
            let mut done = 0;
            while let Some(batch) = batch(&mut read).await {
                done += batch.len() as u64;
                store = blocking(move || store.apply(&batch).map(|()| store)).await?;
                say(Progress::new(done, total.max(done), began.elapsed()));
            }
            Ok(store)
        };
        // Pages come while those before them are applied.
        let ((), store) = tokio::try_join!(reads, writes)?;
        let store = blocking(move || store.finish()).await?;
        log.is_still(&store.checkpoint).await?;
        Ok(store)
    }
}

/// The messages of one transaction; `None` at the end of the log.
async fn batch(pages: &mut mpsc::Receiver<Vec<Stored>>) -> Option<Vec<Stored>> {
    let mut batch = pages.recv().await?;
    while batch.len() < TRANSACTION {
        let Some(page) = pages.recv().await else { break };
        batch.extend(page);
    }
    Some(batch)
}

/// The pages of a log, each of which begins with the last message of the one before: so a log that
/// is cut or replaced meanwhile does not go into one file with another.
struct WholeLog {
    pages: Pages,
    last: Option<Stored>,
    /// There was no more, when the last page was read.
    ended: bool,
}

impl WholeLog {
    /// The messages of the next page; `None` at the end.
    async fn next(&mut self) -> Result<Option<Vec<Stored>>, StoreError> {
        if self.ended {
            return Ok(None);
        }
        let known = usize::from(self.last.is_some());
        let from = self.last.as_ref().map_or(1, |last| last.sequence);
        let mut doubts = 0;
        let mut page = loop {
            match self.pages.read(from).await {
                Ok(page) if self.goes_on_in(&page) => break page,
                // Perhaps of a replica that lags.
                Ok(_) if doubts < DOUBTS => doubts += 1,
                Ok(_) => return Err(StoreError::OtherLog),
                Err(error) => {
                    tracing::warn!(%error, from, "the log cannot be read; trying again");
                }
            }
            sleep(RETRY).await;
        };
        let new = page.messages.split_off(known);
        self.ended = page.left == 0 || new.is_empty();
        self.last = new.last().cloned().or(self.last.take());
        Ok(Some(new))
    }

    fn goes_on_in(&self, page: &Page) -> bool {
        let place = |stored: &Stored| (stored.sequence, stored.stored_at);
        self.last.is_none() || page.messages.first().map(place) == self.last.as_ref().map(place)
    }

    /// Asks until there is an answer.
    async fn is_still(&self, checkpoint: &Checkpoint) -> Result<(), StoreError> {
        let mut doubts = 0;
        loop {
            match compare(&self.pages, checkpoint).await.0 {
                Log::Same => return Ok(()),
                Log::Other(_) => return Err(StoreError::OtherLog),
                Log::PerhapsCut if doubts == DOUBTS => return Err(StoreError::OtherLog),
                Log::PerhapsCut => doubts += 1,
                Log::NoAnswer(error) => tracing::warn!(error, "the broker does not answer"),
            }
            sleep(RETRY).await;
        }
    }
}

/// Runs work that uses the disk on a thread of its own.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    }
}
