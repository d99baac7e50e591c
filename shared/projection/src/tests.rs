//! What a broker may do to a projection that no real server does when asked to: it replaces its log
//! between two pages, says different things, loses the end.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;
use quadrille::broker::{Broker, Care, Incarnation, Page, Stored, StreamState, Unavailable};
use rusqlite::Connection;
use schemas::order_fulfilment::FLOW;
use tokio::sync::RwLock;

use crate::read_model::{Happened, ReadModel, Rows, text};
use crate::{Projection, ReadError, Runner, open, sagas};

static IDS: ReadModel = ReadModel {
    name: "ids",
    version: 1,
    readable_from: 1,
    tables: &[sagas::TABLES, "CREATE TABLE ids (saga TEXT)"],
    indexes: &[sagas::INDEXES],
    apply: |happened: &Happened<'_>, rows: &mut Rows| {
        rows.write("INSERT INTO ids (saga) VALUES (?1)", [text(happened.saga.as_str())]);
        sagas::apply(happened, sagas::Shown::default(), rows);
    },
};

/// Messages of a page.
const PAGE: usize = 5;

/// Changes the log before a read, of which it gets the number.
type AtRead = dyn Fn(u64, &mut Vec<Stored>) + Send + Sync;

/// A log that a test writes, and what happens when it is read for the n-th time.
struct Log {
    messages: Mutex<Vec<Stored>>,
    reads: AtomicU64,
    at_read: Box<AtRead>,
    /// While a test writes it, nobody reads from the first message on.
    beginning: RwLock<()>,
}

impl Log {
    fn new(
        messages: Vec<Stored>,
        at_read: impl Fn(u64, &mut Vec<Stored>) + Send + Sync + 'static,
    ) -> Arc<Self> {
        let messages = Mutex::new(messages);
        let at_read = Box::new(at_read);
        Arc::new(Self { messages, reads: AtomicU64::new(0), at_read, beginning: RwLock::new(()) })
    }

    fn look<T>(&self, look: impl FnOnce(&mut Vec<Stored>) -> T) -> T {
        look(&mut self.messages.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn placed(id: &str, sequence: u64, second: i64) -> Stored {
    Stored {
        subject: format!("orders.placed.{id}"),
        sequence,
        stored_at: Timestamp::from_second(second).unwrap(),
        headers: Vec::new(),
        payload: Bytes::from_static(b"{}"),
    }
}

/// Sequences 1 to `most`; the time tells two logs apart.
fn orders(name: &str, most: u64, second: i64) -> Vec<Stored> {
    (1..=most).map(|at| placed(&format!("{name}-{at}"), at, second)).collect()
}

fn run(log: Arc<Log>) -> (Projection, tokio::task::JoinHandle<()>, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let (projection, runner): (_, Runner) = open(&FLOW, &IDS, log, folder.path()).unwrap();
    #[expect(clippy::disallowed_methods, reason = "a test, which ends it")]
    let work = tokio::spawn(runner.run(std::future::pending()));
    (projection, work, folder)
}

const LIMIT: Duration = Duration::from_secs(10);

async fn ids(projection: &Projection) -> Vec<String> {
    let query = |rows: &Connection| {
        let mut ids = rows.prepare("SELECT saga FROM ids ORDER BY rowid")?;
        ids.query_map([], |row| row.get(0))?.collect()
    };
    projection.read(LIMIT, query).await.unwrap().0
}

fn names(messages: &[Stored]) -> Vec<String> {
    messages.iter().map(|one| one.subject.rsplit('.').next().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn two_logs_never_go_into_one_file() {
    let log = Log::new(orders("old", 12, 100), |read, messages| {
        if read == 2 {
            *messages = orders("new", 14, 200);
        }
    });
    let (projection, work, _folder) = run(log.clone());
    projection.serves().await;
    assert_eq!(ids(&projection).await, names(&orders("new", 14, 200)));
    work.abort();
}

#[tokio::test]
async fn a_log_that_ends_while_a_rebuild_catches_up_stops_no_projection() {
    let log = Log::new(orders("early", 7, 100), |_, _| {});
    let (projection, work, _folder) = run(log.clone());
    projection.serves().await;
    let beginning = log.beginning.write().await;
    projection.rebuild();
    // What serves goes on, and then the log loses that, as from an older copy of the store.
    log.look(|messages| messages.extend((8..=9).map(|at| placed(&format!("lost-{at}"), at, 150))));
    projection.wait(projection.token("9").unwrap(), LIMIT).await.unwrap();
    log.look(|messages| messages.truncate(7));
    drop(beginning);
    let anew = |status: &crate::Status| status.as_of.is_some_and(|at| at.sequence == 7);
    projection.changes().wait_for(anew).await.unwrap();
    assert_eq!(ids(&projection).await, names(&orders("early", 7, 100)));
    work.abort();
}

#[tokio::test]
async fn an_order_that_is_opened_twice_stops_no_projection() {
    let twice = vec![placed("A1", 1, 100), placed("A1", 2, 101), placed("A2", 3, 102)];
    let (projection, work, _folder) = run(Log::new(twice, |_, _| {}));
    projection.serves().await;
    assert_eq!(ids(&projection).await, ["A1", "A1", "A2"]);
    let count = |rows: &Connection| {
        rows.query_row("SELECT sum(sagas) FROM counts", [], |row| row.get::<_, u64>(0))
    };
    assert_eq!(projection.read(LIMIT, count).await.unwrap().0, 2);
    work.abort();
}

#[tokio::test]
async fn a_query_whose_caller_went_away_keeps_its_place() {
    let (projection, work, _folder) = run(Log::new(orders("some", 1, 100), |_, _| {}));
    projection.serves().await;
    let held: Vec<_> = (0..crate::projection::READERS)
        .map(|_| {
            let (let_go, held) = std::sync::mpsc::channel::<()>();
            let (began, begun) = tokio::sync::oneshot::channel();
            let query = move |_: &Connection| {
                let _ = began.send(());
                let _ = held.recv();
                Ok(())
            };
            (Box::pin(projection.read(LIMIT, query)), let_go, begun)
        })
        .collect();
    let mut still = Vec::new();
    for (mut read, let_go, begun) in held {
        tokio::select! {
            _ = &mut read => panic!("it waits"),
            begun = begun => begun.unwrap(),
        }
        drop(read);
        still.push(let_go);
    }
    let short = Duration::from_millis(1);
    let further = projection.read(short, |_| Ok(())).await;
    assert!(matches!(further, Err(ReadError::TooSlow)), "{further:?}");
    drop(still);
    projection.read(LIMIT, |_| Ok(())).await.unwrap();
    work.abort();
}

#[test]
fn a_file_that_was_deleted_is_no_error_of_the_reader() {
    let gone = crate::reader::Readable::new(std::path::Path::new("/nowhere/ids-1.db"));
    let read = gone.read(LIMIT, |_| Ok(()));
    assert!(matches!(read, Err(ReadError::NotBuilt)), "{:?}", read.map(|_| ()));
}

impl Broker for Log {
    fn read_page<'a>(
        &'a self,
        _: &'a str,
        from: u64,
        most: usize,
        _: Care,
    ) -> BoxFuture<'a, Result<Page, Unavailable>> {
        async move {
            if from == 1 {
                drop(self.beginning.read().await);
            }
            let read = self.reads.fetch_add(1, Ordering::SeqCst);
            Ok(self.look(|messages| {
                (self.at_read)(read, messages);
                let mut rest = messages.iter().filter(|stored| stored.sequence >= from).cloned();
                let messages: Vec<_> = rest.by_ref().take(most.min(PAGE)).collect();
                Page { messages, left: rest.count() as u64 }
            }))
        }
        .boxed()
    }

    fn state<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Option<StreamState>, Unavailable>> {
        let last = self.look(|messages| messages.last().map_or(0, |stored| stored.sequence));
        let state = StreamState {
            incarnation: Incarnation {
                stream: FLOW.stream.to_owned(),
                created: Timestamp::from_second(1).unwrap(),
            },
            server_time: Timestamp::from_second(1_000).unwrap(),
            last_sequence: last,
            bytes: 0,
            max_bytes: None,
        };
        async { Ok(Some(state)) }.boxed()
    }

    quadrille::unasked!(publish_once last publish publish_batch pull settle);
    quadrille::unasked!(last_of_many inspect serve request flush);
}
