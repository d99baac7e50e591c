//! Takes what completed orders hold off the shelf: in the background, in batches.
//!
//! It reads the log from where it was, and a hold says by itself whether its pieces are gone. So it
//! may read an order twice, after a crash or beside another replica, and still ships it once. The
//! place where it was is only noted so that a restart need not begin with the first order.

use std::ops::ControlFlow::{self, Break, Continue};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use quadrille::SagaId;
use quadrille::broker::{BatchMessage, Broker, Care, Stored, Unavailable};
use quadrille::log::envelope::Envelope;
use schemas::order_fulfilment::FLOW;
use schemas::order_fulfilment::events::OrderCompleted;
use schemas::stock::{SHELF, STREAM};
use serde::{Deserialize, Serialize};
use tokio::time::{sleep, timeout};

use crate::stock::{StockLog, Trouble, start_series};

/// Messages of the log read at once.
const PAGE: usize = 1_024;
/// How long it rests when it has read all: drawn each time, so that of several replicas one does
/// the work and the others find it done.
const REST_MS: std::ops::Range<u64> = 2_000..6_000;
/// An operator who counts waits no longer than this, because a request waits a few seconds.
const CATCH_UP: Duration = Duration::from_secs(2);

/// A log that seems to have lost its end is asked again this much later, because an old leader may
/// say so.
const SECOND_LOOK: Duration = Duration::from_secs(5);

/// The last message that was read. Another log of the same name has another one in its place, and
/// so has a log that was restored and went on, or that lost its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Read {
    sequence: u64,
    stored_at: Timestamp,
    /// When the log was made; `None` from a version that did not say.
    #[serde(default)]
    log: Option<Timestamp>,
}

/// The shelf that completed orders leave.
pub struct Shelf {
    broker: Arc<dyn Broker>,
    stock: Arc<StockLog>,
    /// How far this replica has read, and how far the log went then.
    read: AtomicU64,
    to_read: AtomicU64,
}

impl std::fmt::Debug for Shelf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shelf").finish_non_exhaustive()
    }
}

impl Shelf {
    pub fn new(broker: Arc<dyn Broker>, stock: Arc<StockLog>) -> Self {
        Self { broker, stock, read: AtomicU64::new(0), to_read: AtomicU64::new(0) }
    }

    /// Goes on for as long as the worker runs.
    pub async fn clear(&self) {
        start_series();
        let mut said = None;
        loop {
            let trouble = self.catch_up().await.err().map(|trouble| trouble.to_string());
            if let Some(trouble) =
                trouble.as_ref().filter(|trouble| said.as_ref() != Some(*trouble))
            {
                tracing::warn!(trouble, "what completed orders hold stays on the shelf for now");
            }
            said = trouble;
            sleep(Duration::from_millis(fastrand::u64(REST_MS))).await;
        }
    }

    /// For whoever counts what lies there: waits a moment until everything that was completed
    /// before this call is off the shelf.
    ///
    /// # Errors
    /// [`Trouble`] if that takes longer, or could not be found out.
    pub(crate) async fn is_clear(&self) -> Result<(), Trouble> {
        match timeout(CATCH_UP, self.catch_up()).await {
            Ok(caught_up) => caught_up,
            Err(_) => {
                let (read, of) = (self.read.load(Relaxed), self.to_read.load(Relaxed));
                Err(Trouble::Behind { read, of })
            }
        }
    }

    /// Takes everything off the shelf that was completed before this call.
    ///
    /// # Errors
    /// [`Trouble`] if it could not be done, or not found out.
    pub async fn catch_up(&self) -> Result<(), Trouble> {
        let Some(log) = self.broker.state(FLOW.stream).await? else { return Ok(()) };
        while self.next(log.last_sequence).await?.is_continue() {}
        Ok(())
    }

    /// Goes on by a page of the log, as far as `until`.
    async fn next(&self, until: u64) -> Result<ControlFlow<()>, Trouble> {
        let noted = self.broker.last(STREAM, SHELF).await?;
        let revision = noted.as_ref().map_or(0, |noted| noted.sequence);
        let noted = noted.and_then(|noted| serde_json::from_slice::<Read>(&noted.payload).ok());
        // After the note, which another replica may have written a moment ago.
        let Some(mut log) = self.broker.state(FLOW.stream).await? else { return Ok(Break(())) };
        let made = log.incarnation.created;
        let mut noted = noted.filter(|read| read.log.is_none_or(|log| log == made));
        if noted.is_some_and(|read| read.sequence > log.last_sequence) {
            sleep(SECOND_LOOK).await;
            let Some(again) = self.broker.state(FLOW.stream).await? else { return Ok(Break(())) };
            log = again;
            noted = noted.filter(|read| read.sequence <= log.last_sequence);
        }
        self.read.store(noted.map_or(0, |read| read.sequence), Relaxed);
        self.to_read.store(log.last_sequence, Relaxed);
        if log.last_sequence == 0 {
            return Ok(Break(()));
        }
        let mut page = self.page(noted.map_or(1, |read| read.sequence)).await?;
        // Begins with the message that was read last, if it is still the same log.
        match (noted, page.first()) {
            (Some(noted), Some(first)) if noted.is_up_to(first) => _ = page.remove(0),
            (Some(_), Some(_)) => page = self.page(1).await?,
            (None, Some(_)) => {}
            (_, None) => return Err(shows_less()),
        }
        let Some(Stored { sequence, stored_at, .. }) = page.last() else {
            let all = noted.is_some_and(|read| read.sequence == log.last_sequence);
            return if all { Ok(Break(())) } else { Err(shows_less()) };
        };
        self.stock.ship(page.iter().filter_map(completed).collect()).await?;
        let last = Read { sequence: *sequence, stored_at: *stored_at, log: Some(made) };
        self.note(last, revision).await;
        self.read.store(last.sequence, Relaxed);
        let all = last.sequence >= until.min(log.last_sequence);
        Ok(if all { Break(()) } else { Continue(()) })
    }

    /// Reads a message alone, from the leader, where it ends the connection of whoever reads it
    /// fast, or where a replica does not have it yet.
    async fn page(&self, from: u64) -> Result<Vec<Stored>, Unavailable> {
        match self.broker.read_page(FLOW.stream, from, PAGE, Care::Fast).await {
            Ok(page) if page.messages.len() > 1 => Ok(page.messages),
            Ok(_) | Err(_) => {
                let page = self.broker.read_page(FLOW.stream, from, 64, Care::Careful).await?;
                Ok(page.messages)
            }
        }
    }

    /// If another replica noted its place meanwhile, that one counts.
    async fn note(&self, read: Read, revision: u64) {
        let payload = serde_json::to_vec(&read).expect("plain structs always serialise");
        let payload = Bytes::from(payload);
        let note = BatchMessage { subject: SHELF.to_owned(), expected_last: revision, payload };
        // Without it, the same page is read again.
        let _ = self.broker.publish_batch(vec![note]).await;
    }
}

impl Read {
    fn is_up_to(&self, stored: &Stored) -> bool {
        (self.sequence, self.stored_at) == (stored.sequence, stored.stored_at)
    }
}

fn shows_less() -> Trouble {
    Unavailable(format!("{} shows less than it holds", FLOW.stream)).into()
}

/// The order that this message completes.
fn completed(stored: &Stored) -> Option<SagaId> {
    let slot = FLOW.closing().slot;
    let id = stored.subject.strip_prefix(FLOW.subjects)?.strip_prefix('.')?.strip_prefix(slot)?;
    let saga = SagaId::parse(id.strip_prefix('.')?).ok()?;
    let envelope = Envelope::read(&FLOW, slot, &saga, "", stored).ok()?;
    let by_its_worker = envelope.source == FLOW.closing().worker;
    (by_its_worker && envelope.event::<OrderCompleted>(&saga).is_ok()).then_some(saga)
}
