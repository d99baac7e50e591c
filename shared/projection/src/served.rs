//! What serves, and what is said of it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use quadrille::broker::StreamState;
use tokio::time::Instant;

use crate::projection::Shared;
use crate::reader::Readable;
use crate::store::Store;

/// How long the log is left alone when it has nothing new, and nobody waits for anything.
const IDLE: Duration = Duration::from_millis(50);
/// The same while somebody waits for a place.
const AWAITED: Duration = Duration::from_millis(2);

impl Shared {
    /// Remembers what the broker says of its stream and of the time.
    pub(crate) fn hear(&self, state: &StreamState) {
        // Nobody waits for either of them.
        self.status.send_if_modified(|status| {
            status.log = Some(state.incarnation.created);
            status.clock = Some((state.server_time, Instant::now()));
            false
        });
    }

    /// From now on queries read this file.
    pub(crate) fn serve(&self, store: &Store) {
        let readable = Some(Arc::new(Readable::new(store.path())));
        self.swap(readable);
        self.status.send_modify(|status| {
            status.building = None;
            status.trouble = None;
            status.version = Some(store.checkpoint.version);
        });
        self.say(store, 0);
        tracing::info!(model = ?self.model, file = %store.path().display(), "serves");
    }

    pub(crate) fn serve_nothing(&self, why: &str) {
        self.swap(None);
        self.status.send_modify(|status| {
            (status.as_of, status.stored_at, status.version) = (None, None, None);
            status.trouble = Some(why.to_owned());
        });
    }

    fn swap(&self, readable: Option<Arc<Readable>>) {
        let Ok(mut serving) = self.serving.write() else { return };
        if let Some(old) = std::mem::replace(&mut *serving, readable) {
            old.retire();
        }
    }

    pub(crate) fn trouble(&self, why: String) {
        self.status.send_if_modified(|status| {
            let new = status.trouble.as_ref() != Some(&why);
            if new {
                tracing::warn!(why, "the projection does not follow the log");
                status.trouble = Some(why);
            }
            new
        });
    }

    /// Says how far the rows are; the log was just read.
    pub(crate) fn say(&self, store: &Store, behind: u64) {
        let wal_bytes = store.wal_bytes();
        let checkpoint = &store.checkpoint;
        // Those that wait are not woken for nothing.
        self.status.send_if_modified(|status| {
            let new = status.as_of != Some(checkpoint.place) || status.trouble.is_some();
            status.as_of = Some(checkpoint.place);
            status.stored_at = checkpoint.time();
            status.skipped = checkpoint.skipped;
            status.seen = Instant::now();
            (status.behind, status.wal_bytes, status.trouble) = (behind, wal_bytes, None);
            new
        });
        self.status.borrow().record(self.model.name);
    }

    pub(crate) fn wait(&self) -> Duration {
        if self.waiting.load(Ordering::Relaxed) > 0 { AWAITED } else { IDLE }
    }
}
