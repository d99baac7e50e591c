//! The stock: what the step asks of it, and its adapter on a stream of the broker.
//!
//! Requests that come while a commit is under way make the next group, which is stored as one
//! atomic batch: every hold expected not to exist, every SKU expected as it was read. So a hot SKU
//! costs one message a group, any replica may serve any order, and nothing is held twice or lost.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use quadrille::broker::{Broker, Published, Unavailable};
use quadrille::step::StepError;
use schemas::{SagaId, Sku};
use serde::de::DeserializeOwned;
use tokio::sync::{Mutex as Driver, oneshot};

use crate::plan::{Answer, Books, Known, Want, hold_subject, level_subject};
pub use crate::plan::{Hold, Level, Piece};

/// The stream of the stock's own data.
pub const STREAM: &str = "STOCK";

/// Requests in one group, and messages in one batch: the broker takes 1,000.
const MOST_WANTS: usize = 256;
const MOST_MESSAGES: usize = 1_000;
/// Leader reads under way at once.
const READS: usize = 64;
/// Tries at one group; another replica can win each time, and then the step tries again.
const TRIES: u32 = 20;

/// Whether an order's stock is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Held {
    Yes,
    /// Fewer pieces are free than the order wants.
    TooLittle(Sku),
    /// No such SKU.
    Unknown(Sku),
    /// It was released, so it can never be held again.
    Released,
}

/// The stock, in the step's words. Every call may be made again.
pub trait Stock: Send + Sync + 'static {
    /// Holds all of these pieces for an order, or none.
    fn hold(
        &self,
        order: &SagaId,
        pieces: BTreeMap<Sku, u64>,
    ) -> impl Future<Output = Result<Held, StepError>> + Send;

    /// Frees what an order holds, now and for ever.
    fn release(&self, order: &SagaId) -> impl Future<Output = Result<(), StepError>> + Send;
}

/// The stock on the broker; any number of replicas may share it.
pub struct StockLog {
    broker: Arc<dyn Broker>,
    waiting: Mutex<Vec<Asked>>,
    /// Whoever holds it commits a group, for everybody in it. Levels as of the last commit.
    driver: Driver<BTreeMap<Sku, Known<Level>>>,
}

struct Asked {
    want: Want,
    answer: oneshot::Sender<Result<Answer, Trouble>>,
}

/// The stock cannot be told or changed now.
#[derive(Debug, Clone, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    #[error("other replicas changed the same stock {TRIES} times meanwhile")]
    Contended,
    #[error("the broker gave no answer to a batch")]
    NoAnswer,
    #[error("the broker refused a batch ({code}): {description}")]
    Rejected { code: u64, description: String },
    #[error("{0} holds what is no stock record")]
    Unreadable(String),
    #[error("a SKU can be held up to the range of 64 bits")]
    Impossible,
}

impl fmt::Debug for StockLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StockLog").finish_non_exhaustive()
    }
}

impl Stock for StockLog {
    async fn hold(&self, order: &SagaId, pieces: BTreeMap<Sku, u64>) -> Result<Held, StepError> {
        match self.ask(Want::Hold { order: order.clone(), pieces }).await? {
            Answer::Held => Ok(Held::Yes),
            Answer::TooLittle(sku) => Ok(Held::TooLittle(sku)),
            Answer::Unknown(sku) => Ok(Held::Unknown(sku)),
            Answer::Released => Ok(Held::Released),
            Answer::Set | Answer::BelowHeld(_) => Err(Trouble::Impossible.into()),
        }
    }

    async fn release(&self, order: &SagaId) -> Result<(), StepError> {
        self.ask(Want::Release { order: order.clone() }).await?;
        Ok(())
    }
}

impl StockLog {
    pub fn new(broker: Arc<dyn Broker>) -> Self {
        Self { broker, waiting: Mutex::default(), driver: Driver::default() }
    }

    /// Sets the pieces stocked of a SKU, held ones included; `Err` of the pieces held when that is
    /// more. `opening` only makes SKUs that do not exist.
    ///
    /// # Errors
    /// When the broker gives no answer.
    pub async fn set(
        &self,
        sku: Sku,
        stocked: u64,
        opening: bool,
    ) -> Result<Result<(), u64>, StepError> {
        match self.ask(Want::Set { sku, stocked, opening }).await? {
            Answer::BelowHeld(held) => Ok(Err(held)),
            _ => Ok(Ok(())),
        }
    }

    /// The stock of these SKUs, or of every SKU for an empty list (at most 1,024 of them); unknown
    /// ones are left out.
    ///
    /// # Errors
    /// When the broker gives no answer.
    pub async fn show(&self, skus: &[Sku]) -> Result<Vec<Level>, StepError> {
        let filters = match skus {
            [] => vec!["stock.sku.*".to_owned()],
            skus => skus.iter().map(level_subject).collect(),
        };
        let stored = self.broker.last_of_many(STREAM, filters).await?;
        let read =
            |stored: &quadrille::broker::Stored| serde_json::from_slice(&stored.payload).ok();
        let mut levels: Vec<Level> = stored.iter().filter_map(read).collect();
        levels.sort_by(|one, other| one.sku.cmp(&other.sku));
        Ok(levels)
    }

    /// Waits for the answer, and commits groups as long as nobody else does.
    ///
    /// A caller may stop waiting at any moment. If it was committing a group, everybody in it finds
    /// its answer gone and asks again: what was stored meanwhile is found then.
    async fn ask(&self, want: Want) -> Result<Answer, Trouble> {
        loop {
            let (answer, mut answered) = oneshot::channel();
            let asked = Asked { want: want.clone(), answer };
            self.waiting.lock().expect("nobody panics holding it").push(asked);
            loop {
                tokio::select! {
                    biased;
                    answer = &mut answered => match answer {
                        Ok(answer) => return answer,
                        Err(_) => break,
                    },
                    mut levels = self.driver.lock() => {
                        // Taken, so that a commit which is cut off leaves no stale levels behind.
                        let known = std::mem::take(&mut *levels);
                        *levels = self.commit_group(known).await;
                    }
                }
            }
        }
    }

    fn take_group(&self) -> Vec<Asked> {
        let mut waiting = self.waiting.lock().expect("nobody panics holding it");
        let mut messages = 0;
        let fits = waiting.iter().take(MOST_WANTS).take_while(|asked| {
            messages += asked.want.messages();
            messages <= MOST_MESSAGES
        });
        let count = fits.count();
        waiting.drain(..count).filter(|asked| !asked.answer.is_closed()).collect()
    }

    async fn commit_group(
        &self,
        known: BTreeMap<Sku, Known<Level>>,
    ) -> BTreeMap<Sku, Known<Level>> {
        let group = self.take_group();
        let wants: Vec<&Want> = group.iter().map(|asked| &asked.want).collect();
        let (answers, levels) = match self.commit(&wants, known).await {
            Ok((answers, levels)) => (answers.into_iter().map(Ok).collect(), levels),
            Err(trouble) => (vec![Err(trouble); group.len()], BTreeMap::new()),
        };
        for (asked, answer) in group.into_iter().zip(answers) {
            // Whoever asked may have been let go meanwhile.
            let _ = asked.answer.send(answer);
        }
        levels
    }

    /// Commits a group: at first on the levels as last known and without reading holds that should
    /// not exist; after a conflict, or before a refusal, on what the leader says.
    async fn commit(
        &self,
        wants: &[&Want],
        known: BTreeMap<Sku, Known<Level>>,
    ) -> Result<(Vec<Answer>, BTreeMap<Sku, Known<Level>>), Trouble> {
        let mut books = Books::with(known);
        let mut fresh = false;
        let mut trouble = Trouble::Contended;
        for attempt in 1..=TRIES {
            self.read(&mut books, wants, fresh).await?;
            let answers: Vec<_> = wants.iter().map(|want| books.enter(want)).collect();
            let no = |answer: &Answer| matches!(answer, Answer::TooLittle(_) | Answer::Unknown(_));
            if !fresh && answers.iter().any(no) {
                (books, fresh) = (Books::default(), true);
                continue;
            }
            let messages = books.messages();
            if messages.is_empty() {
                return Ok((answers, books.stored(0)));
            }
            match self.broker.publish_batch(messages).await {
                Published::Stored { sequence } => return Ok((answers, books.stored(sequence))),
                Published::Conflict => trouble = Trouble::Contended,
                Published::Unknown(_) => trouble = Trouble::NoAnswer,
                Published::TooLarge => return Err(Trouble::Impossible),
                Published::Rejected { code, description } => {
                    return Err(Trouble::Rejected { code, description });
                }
            }
            (books, fresh) = (Books::default(), true);
            let wait_ms = fastrand::u64(0..u64::from(attempt.min(8)) * 4);
            tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        }
        Err(trouble)
    }

    /// Reads what the books lack: the holds of releases and SKUs not known, or all of it afresh.
    async fn read(&self, books: &mut Books, wants: &[&Want], fresh: bool) -> Result<(), Trouble> {
        let holds = wants.iter().filter_map(|want| match want {
            Want::Release { order } => Some(order.clone()),
            Want::Hold { order, .. } if fresh => Some(order.clone()),
            Want::Hold { .. } | Want::Set { .. } => None,
        });
        let holds: BTreeSet<SagaId> = holds.collect();
        let read = stream::iter(holds.into_iter().filter(|order| !books.holds.contains_key(order)))
            .map(|order| async move {
                let hold = self.last(hold_subject(&order)).await?;
                Ok::<_, Trouble>((order, hold))
            })
            .buffer_unordered(READS)
            .try_collect::<Vec<(SagaId, Known<Hold>)>>()
            .await?;
        books.holds.extend(read);
        let of_holds = books.holds.values().filter_map(|known| known.value.as_ref());
        let mut skus: BTreeSet<Sku> =
            of_holds.flat_map(|hold| &hold.pieces).map(|piece| piece.sku.clone()).collect();
        for want in wants {
            match want {
                Want::Hold { pieces, .. } => skus.extend(pieces.keys().cloned()),
                Want::Set { sku, .. } => {
                    skus.insert(sku.clone());
                }
                Want::Release { .. } => {}
            }
        }
        let read = stream::iter(skus.into_iter().filter(|sku| !books.levels.contains_key(sku)))
            .map(|sku| async move {
                let level = self.last(level_subject(&sku)).await?;
                Ok::<_, Trouble>((sku, level))
            })
            .buffer_unordered(READS)
            .try_collect::<Vec<(Sku, Known<Level>)>>()
            .await?;
        books.levels.extend(read);
        Ok(())
    }

    async fn last<T: DeserializeOwned>(&self, subject: String) -> Result<Known<T>, Trouble> {
        let Some(stored) = self.broker.last(STREAM, &subject).await? else {
            return Ok(Known::NONE);
        };
        let value = serde_json::from_slice(&stored.payload);
        let value = value.map_err(|_| Trouble::Unreadable(subject))?;
        Ok(Known { revision: stored.sequence, value: Some(value) })
    }
}
