//! What keeps a projection up to date: it follows the log, notices that the log is another one, and
//! builds rows anew beside those that serve.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use quadrille::broker::StreamState;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::build::Build;
use crate::fold::Fold;
use crate::follow::{Log, Step, compare, step};
use crate::pages::Pages;
use crate::projection::Shared;
use crate::shelf::discard;
use crate::status::{APPLIED, Progress};
use crate::store::{Checkpoint, Store, StoreError};

/// The wait after an error.
const TROUBLE: Duration = Duration::from_millis(500);
/// How often the broker is asked whether the stream is the same.
const COMPARE_EVERY: Duration = Duration::from_secs(1);
/// So often, one after the other, the log must look cut before the rows are given up.
const CUTS: u32 = 3;

const DAMAGED: &str = "the file is damaged";

/// Keeps a projection up to date; there is one.
pub struct Runner {
    pub(crate) shared: Arc<Shared>,
    pub(crate) pages: Pages,
}

type Builds = JoinSet<Result<Store, StoreError>>;

impl Runner {
    /// Follows the log until `stop` resolves. It never gives up: what keeps it from reading is in
    /// the status.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        tokio::select! {
            () = stop => {}
            () = self.follow_every_log() => {}
        }
    }

    async fn follow_every_log(&self) {
        loop {
            let log = self.log().await;
            let store = match self.kept(&log).await {
                Ok(Some(store)) => store,
                Ok(None) => match self.build_first(&log).await {
                    Ok(store) => store,
                    Err(error) => {
                        self.shared.trouble(error.to_string());
                        sleep(TROUBLE).await;
                        continue;
                    }
                },
                Err(error) => {
                    self.shared.trouble(error.to_string());
                    sleep(TROUBLE).await;
                    continue;
                }
            };
            self.shared.serve(&store);
            let why = self.follow(store).await;
            tracing::warn!(why, "the projection is built anew");
            self.shared.serve_nothing(why);
        }
    }

    /// Waits until there is a log.
    async fn log(&self) -> StreamState {
        loop {
            match self.pages.broker.state(self.pages.stream).await {
                Ok(Some(state)) => {
                    self.shared.hear(&state);
                    return state;
                }
                Ok(None) => {
                    self.shared.trouble(format!("stream {} does not exist", self.pages.stream))
                }
                Err(error) => self.shared.trouble(error.to_string()),
            }
            sleep(TROUBLE).await;
        }
    }

    /// The file that an earlier process left, if its rows are of this log and can be read.
    async fn kept(&self, log: &StreamState) -> Result<Option<Store>, StoreError> {
        let Shared { flow, model, .. } = *self.shared;
        let current = self.pages.shelf.lock().ok().and_then(|shelf| shelf.current());
        let Some((path, checkpoint)) = current else { return Ok(None) };
        let readable = (model.readable_from..=model.version).contains(&checkpoint.version);
        let same = checkpoint.place.created == log.incarnation.created;
        if !readable || !same {
            return Ok(None);
        }
        match compare(&self.pages, &checkpoint).await.0 {
            // The follower looks again.
            Log::Same | Log::NoAnswer(_) | Log::PerhapsCut => {
                match Store::open(&path, Fold::new(flow, model), model) {
                    Err(error) if error.is_damage() => Ok(None),
                    opened => opened.map(Some),
                }
            }
            Log::Other(_) => Ok(None),
        }
    }

    async fn build_first(&self, log: &StreamState) -> Result<Store, StoreError> {
        let store = self.build(log).await?;
        self.publish(&store)?;
        self.shared.status.send_modify(|status| status.builds += 1);
        // Files of another log, or of a version that cannot be read.
        if let Ok(mut shelf) = self.pages.shelf.lock() {
            shelf.clean();
        }
        Ok(store)
    }

    fn build(
        &self,
        log: &StreamState,
    ) -> impl Future<Output = Result<Store, StoreError>> + Send + 'static {
        let Shared { flow, model, .. } = *self.shared;
        let fresh = self.pages.shelf.lock().map(|mut shelf| shelf.fresh());
        let build = Build {
            pages: self.pages.clone(),
            flow,
            model,
            path: fresh.expect("no thread panics with the lock"),
            created: log.incarnation.created,
            total: log.last_sequence,
        };
        let shared = self.shared.clone();
        let say = move |progress: Option<Progress>| {
            shared.status.send_modify(|status| status.building = progress);
            shared.status.borrow().record(shared.model.name);
        };
        say(Some(Progress::new(0, log.last_sequence, Duration::ZERO)));
        async move {
            let built = build.run(|progress| say(Some(progress))).await;
            if built.is_err() {
                say(None);
            }
            built
        }
    }

    /// A file that cannot be published is deleted, so that many tries do not fill the disk.
    fn publish(&self, store: &Store) -> Result<(), StoreError> {
        let shelf = self.pages.shelf.lock().expect("no thread panics with the lock");
        shelf.publish(store.path()).map_err(|error| {
            discard(store.path());
            let source = std::io::Error::other(error);
            StoreError::File { path: store.path().to_owned(), source }
        })
    }

    /// Follows the log until it turns out to be another one, and says why it is.
    async fn follow(&self, mut store: Store) -> &'static str {
        let mut builds = Builds::new();
        // This build cannot write rows of an older version: they stay as they are meanwhile.
        let mut frozen = store.checkpoint.version != self.shared.model.version;
        let mut rebuild = frozen;
        let (mut compared, mut cuts) = (Instant::now(), 0);
        loop {
            let mut doubt = false;
            let mut wait = self.shared.wait();
            if !frozen {
                let (back, stepped) = step(&self.pages, store).await;
                store = back;
                match stepped {
                    Step::At { left, applied } => {
                        self.shared.say(&store, left);
                        let model = self.shared.model.name;
                        metrics::counter!(APPLIED, "model" => model).increment(applied);
                        if left > 0 && applied > 0 {
                            wait = Duration::ZERO;
                        }
                    }
                    Step::Doubt => doubt = true,
                    Step::NoAnswer(error) => {
                        self.shared.trouble(error.to_string());
                        (doubt, wait) = (true, TROUBLE);
                    }
                    Step::Failed(error) if error.is_damage() => return DAMAGED,
                    Step::Failed(error) => {
                        self.shared.trouble(error.to_string());
                        wait = TROUBLE;
                    }
                }
            }
            if doubt || rebuild || compared.elapsed() >= COMPARE_EVERY {
                compared = Instant::now();
                let file = store.path().to_owned();
                let (log, state) = self.look(&file, store.checkpoint.clone()).await;
                cuts = if log == Log::PerhapsCut { cuts + 1 } else { 0 };
                match log {
                    Log::Other(why) => return why,
                    Log::PerhapsCut if cuts >= CUTS => return "the log was cut",
                    Log::PerhapsCut => wait = TROUBLE,
                    Log::NoAnswer(_) | Log::Same => {}
                }
                if rebuild
                    && builds.is_empty()
                    && let Some(state) = state
                {
                    builds.spawn(self.build(&state));
                    rebuild = false;
                }
            }
            tokio::select! {
                biased;
                Some(built) = builds.join_next(), if !builds.is_empty() => {
                    match self.swap_in(built, store.checkpoint.place.sequence).await {
                        Ok(new) => (store, frozen) = (new, false),
                        Err(why) => {
                            self.shared.trouble(why);
                            rebuild = frozen;
                            sleep(TROUBLE).await;
                        }
                    }
                }
                () = self.shared.damaged.notified() => return DAMAGED,
                () = self.shared.rebuild.notified() => rebuild = builds.is_empty(),
                () = self.shared.look.notified() => {}
                () = sleep(wait) => {}
            }
        }
    }

    /// Looks whether the file is there, and asks whether the log is the same.
    async fn look(&self, file: &Path, checkpoint: Checkpoint) -> (Log, Option<StreamState>) {
        if !file.exists() {
            return (Log::Other("the file is gone"), None);
        }
        let (log, state) = compare(&self.pages, &checkpoint).await;
        if let Some(state) = &state {
            self.shared.hear(state);
        }
        if let Log::NoAnswer(why) = &log {
            self.shared.trouble(why.clone());
        }
        (log, state)
    }

    /// Takes what was built once it has come as far as what serves (`end`), so that no reader sees
    /// the past.
    async fn swap_in(
        &self,
        built: Result<Result<Store, StoreError>, tokio::task::JoinError>,
        end: u64,
    ) -> Result<Store, String> {
        let built = built.map_err(|error| error.to_string())?;
        let mut new = built.map_err(|error| error.to_string())?;
        let mut stuck = 0;
        while new.checkpoint.place.sequence < end {
            let (back, stepped) = step(&self.pages, new).await;
            new = back;
            match stepped {
                Step::At { applied: 1.., .. } => stuck = 0,
                // Perhaps a replica that lags.
                Step::At { .. } | Step::Doubt if stuck < CUTS => {
                    stuck += 1;
                    sleep(TROUBLE).await;
                }
                Step::NoAnswer(error) => {
                    self.shared.trouble(error.to_string());
                    sleep(TROUBLE).await;
                }
                Step::At { .. } | Step::Doubt => {
                    discard(new.path());
                    return Err(StoreError::OtherLog.to_string());
                }
                Step::Failed(error) => {
                    discard(new.path());
                    return Err(error.to_string());
                }
            }
        }
        self.publish(&new).map_err(|error| error.to_string())?;
        self.shared.serve(&new);
        self.shared.status.send_modify(|status| status.builds += 1);
        Ok(new)
    }
}
