//! Builds a file from the whole log, beside the one that serves.

use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use quadrille::Flow;
use quadrille::broker::{Page, Stored};
use tokio::time::{Instant, sleep};

use crate::fold::Fold;
use crate::pages::Pages;
use crate::read_model::ReadModel;
use crate::shelf::discard;
use crate::status::Progress;
use crate::store::{Store, StoreError};

/// Messages of one transaction: the larger, the fewer pages are written twice.
const TRANSACTION: usize = 8 * crate::pages::MOST;

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
        let (mut page, mut ready) = (read(&pages, 1).await, Vec::<Stored>::new());
        let mut done = 0;
        loop {
            let last = page.messages.last().map(|stored| stored.sequence);
            let at_end = page.left == 0;
            ready.append(&mut page.messages);
            if ready.len() >= TRANSACTION || at_end {
                let batch = std::mem::take(&mut ready);
                done += batch.len() as u64;
                let applied = blocking(move || {
                    let applied = store.apply(&batch);
                    (store, applied)
                });
                // The next page comes while this one is applied.
                let next = async {
                    match last {
                        Some(last) if !at_end => read(&pages, last + 1).await,
                        Some(_) | None => Page::default(),
                    }
                };
                let ((back, applied), next) = tokio::join!(applied, next);
                applied?;
                (store, page) = (back, next);
                say(Progress::new(done, total.max(done), began.elapsed()));
            } else if let Some(last) = last {
                page = read(&pages, last + 1).await;
            }
            if at_end {
                break;
            }
        }
        blocking(move || store.finish()).await
    }
}

/// Asks until there is an answer.
async fn read(pages: &Pages, from: u64) -> Page {
    loop {
        match pages.read(from).await {
            Ok(page) => return page,
            Err(error) => {
                tracing::warn!(%error, from, "the log cannot be read; trying again");
                sleep(RETRY).await;
            }
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
