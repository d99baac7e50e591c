//! The stock on a stream of the broker.
//!
//! Requests that arrive while a commit is under way make up the next group, which is stored as one
//! atomic batch under guards (*optimistic concurrency*): no hold may exist yet, and every SKU must
//! be as it was last seen. So a popular SKU costs one message per group, any replica may serve any
//! order, and nothing is held twice.
//!
//! No separate task commits: one of the waiting callers commits for all. A step's deadline can cut
//! that caller off; then the others find that their answer is lost, and ask again.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use quadrille::broker::{Broker, Published, Unknown};
use quadrille::step::StepError;
use quadrille::{KeyNamespace, SagaId};
use schemas::Sku;
use tokio::sync::{Mutex as Driver, oneshot};

use super::books::{Books, Changes, Known, No, Pieces, Want};
use super::draft::Draft;
use super::level::Level;
use super::shown::say_unheld;
use super::{Held, Stock, Trouble};

/// Requests in one group. With a few SKUs they fill a batch of a few hundred messages; larger
/// batches bring no gain (measured).
const MOST_WANTS: usize = 256;
/// Conflicts for one group: another replica can win each time, and then the step tries again.
const MOST_CONFLICTS: u32 = 20;
/// Batches without an answer for one group; each of them takes seconds.
const MOST_SILENCES: u32 = 3;

/// The stock on the broker; any number of replicas may share it.
pub struct StockLog {
    pub(super) broker: Arc<dyn Broker>,
    /// The log of the orders, as holds name it.
    pub(super) log: String,
    waiting: Mutex<VecDeque<Asked>>,
    /// The caller that holds the lock commits for its group. Holds the levels of the last commit.
    driver: Driver<Levels>,
    /// SKUs that had a level once. None ever goes, so one that has none now is read from another
    /// stream of the same name, or from an old leader.
    seen: Mutex<BTreeSet<Sku>>,
}

type Levels = BTreeMap<Sku, Known<Level>>;

struct Asked {
    want: Want,
    answer: oneshot::Sender<Answer>,
}

/// Granted or not; [`Trouble`] if that is not known.
pub(super) type Answer = Result<Result<(), No>, Trouble>;

impl fmt::Debug for StockLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StockLog").finish_non_exhaustive()
    }
}

impl Stock for StockLog {
    async fn hold(&self, order: &SagaId, pieces: Pieces) -> Result<Held, StepError> {
        match self.ask(Want::Hold { order: order.clone(), pieces }).await? {
            Ok(()) => Ok(Held::Yes),
            Err(No::TooLittle(sku)) => Ok(Held::TooLittle(sku)),
            Err(No::UnknownSku(sku)) => Ok(Held::UnknownSku(sku)),
            Err(No::Released) => Ok(Held::Released),
            Err(
                no @ (No::BelowHeld { .. }
                | No::NoLevel(_)
                | No::Junk(_)
                | No::TooMany(_)
                | No::Edited(_)
                | No::OtherReceipt(_)),
            ) => Err(no.into()),
        }
    }

    async fn release(&self, order: &SagaId) -> Result<(), StepError> {
        Ok(self.ask(Want::Release { order: order.clone() }).await??)
    }
}

impl StockLog {
    /// `log` tells the orders of this log from those of an earlier one under the same ids.
    pub fn new(broker: Arc<dyn Broker>, log: KeyNamespace) -> Self {
        Self {
            broker,
            log: log.to_string(),
            waiting: Mutex::default(),
            driver: Driver::default(),
            seen: Mutex::default(),
        }
    }

    /// Waits for the answer, and commits groups as long as no other caller does.
    ///
    /// A caller may stop waiting at any moment. If it was committing a group, the others in it see
    /// their answer gone and ask again; they then find what was stored meanwhile.
    pub(super) async fn ask(&self, want: Want) -> Answer {
        loop {
            let (answer, mut answered) = oneshot::channel();
            self.waiting().push_back(Asked { want: want.clone(), answer });
            loop {
                tokio::select! {
                    biased;
                    answer = &mut answered => match answer {
                        Ok(answer) => return answer,
                        Err(_) => break,
                    },
                    mut levels = self.driver.lock() => self.commit_group(&mut levels).await,
                }
            }
        }
    }

    /// Answers the waiting callers, as many as one batch can take; the others keep their places.
    async fn commit_group(&self, levels: &mut Levels) {
        let mut group = self.take_group();
        let wants: Vec<&Want> = group.iter().map(|asked| &asked.want).collect();
        // Taken out, so that a commit which is cut off leaves nothing outdated behind.
        let mut books = Books { levels: std::mem::take(levels), ..Books::default() };
        let answers: Vec<Answer> = match self.commit(&wants, &mut books).await {
            Ok(answers) => {
                // An unknown SKU is not remembered, because any client may ask for any number of
                // them.
                books.levels.retain(|_, known| known.value.is_some());
                self.seen().extend(books.levels.keys().cloned());
                *levels = books.levels;
                answers.into_iter().map(|answer| self.unless_gone(answer)).collect()
            }
            Err(trouble) => vec![Err(trouble); group.len()],
        };
        let mut waiting = self.waiting();
        for asked in group.drain(answers.len()..).rev() {
            waiting.push_front(asked);
        }
        drop(waiting);
        for (asked, answer) in group.into_iter().zip(answers) {
            // The caller may have been cut off meanwhile.
            let _ = asked.answer.send(answer);
        }
    }

    fn take_group(&self) -> Vec<Asked> {
        let mut waiting = self.waiting();
        let count = waiting.len().min(MOST_WANTS);
        waiting.drain(..count).filter(|asked| !asked.answer.is_closed()).collect()
    }

    fn seen(&self) -> MutexGuard<'_, BTreeSet<Sku>> {
        self.seen.lock().expect("no code panics while it holds the lock")
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<Asked>> {
        self.waiting.lock().expect("no code panics while it holds the lock")
    }

    /// Answers the first of the requests, as many as fit one batch, once that batch is stored.
    ///
    /// At first the levels are those of the last commit, and holds are not read, because they
    /// should not exist. After a conflict, and before a refusal, what matters is read from the
    /// leader.
    async fn commit(
        &self,
        wants: &[&Want],
        books: &mut Books,
    ) -> Result<Vec<Result<(), No>>, Trouble> {
        // Indexes of the requests whose hold and SKUs were read for this group.
        let mut fresh: BTreeSet<usize> = BTreeSet::new();
        let (mut conflicts, mut silences) = (0, 0);
        loop {
            self.read(books, wants, &fresh).await?;
            let Draft { answers, changes, unheld, .. } = Draft::of(books, wants);
            let doubtful: Vec<usize> = doubtful(&answers, &fresh).collect();
            if !doubtful.is_empty() {
                doubtful.iter().for_each(|at| books.forget_skus(wants[*at]));
                // All holds, because a hold must not have been read before the levels beside it.
                books.holds.clear();
                fresh.extend(doubtful);
                continue;
            }
            match self.publish(books, changes).await? {
                Stored::Yes => {
                    say_unheld(&unheld);
                    return Ok(answers);
                }
                Stored::Conflict if conflicts == MOST_CONFLICTS => return Err(Trouble::Contended),
                Stored::Conflict => conflicts += 1,
                Stored::Unknown(why) if silences == MOST_SILENCES => {
                    return Err(Trouble::NoAnswer(why));
                }
                Stored::Unknown(_) => silences += 1,
            }
            // The broker does not say which guard failed, so everything is read again. That
            // includes the holds: one of them may be an earlier attempt's, or this one's own.
            *books = Books::default();
            fresh.extend(0..wants.len());
            let wait_ms = fastrand::u64(1..=4 * u64::from((conflicts + silences).min(8)));
            tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        }
    }

    /// No order is refused because a SKU is unknown that was known.
    fn unless_gone(&self, answer: Result<(), No>) -> Answer {
        match answer {
            Err(No::UnknownSku(sku) | No::NoLevel(sku)) if self.seen().contains(&sku) => {
                Err(Trouble::Gone(sku))
            }
            answer => Ok(answer),
        }
    }

    async fn publish(&self, books: &mut Books, mut changes: Changes) -> Result<Stored, Trouble> {
        for hold in changes.holds.values_mut() {
            hold.log = Some(self.log.clone());
        }
        let messages = changes.messages(books);
        if messages.is_empty() {
            return Ok(Stored::Yes);
        }
        match self.broker.publish_batch(messages).await {
            Published::Stored { sequence } => {
                books.stored(changes, sequence);
                Ok(Stored::Yes)
            }
            Published::Conflict | Published::Unknown(Unknown::Busy) => Ok(Stored::Conflict),
            Published::Unknown(Unknown::NoAnswer(why)) => Ok(Stored::Unknown(why)),
            Published::Unknown(Unknown::Full) => Err(Trouble::Full),
            Published::TooLarge => Err(Trouble::TooLarge),
            Published::Rejected { code, description } => {
                Err(Trouble::Rejected { code, description })
            }
        }
    }
}

/// What became of a batch.
enum Stored {
    Yes,
    Conflict,
    Unknown(String),
}

/// Requests refused because of numbers that were read for an earlier group.
fn doubtful(answers: &[Result<(), No>], fresh: &BTreeSet<usize>) -> impl Iterator<Item = usize> {
    answers.iter().enumerate().filter_map(|(at, answer)| match answer {
        Err(no) if no.rests_on_levels() && !fresh.contains(&at) => Some(at),
        Err(_) | Ok(()) => None,
    })
}
