//! Trips from end to end: a real nats-server, the real workers, and what hotel and bank wrote down.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use quadrille::SagaId;
use quadrille::broker::{Broker, Published, Stored};
use quadrille::log::parked::{self, Parked};
use quadrille::nats::{NatsBroker, NatsOptions, connect};
use quadrille::testing::laws::Effects;
use quadrille::topology::parked_stream_name;
use serde_json::{Value, from_slice, json};
use tempfile::{TempDir, tempdir};
use tokio::time::{interval, timeout};
use trip::flow::FLOW;
use trip::world::{Book, Settings};

const NOTHING: Effects = Effects { done: 0, undone: 0 };
const ONCE: Effects = Effects { done: 1, undone: 0 };
const TAKEN_BACK: Effects = Effects { done: 1, undone: 1 };

#[tokio::test]
async fn a_trip_is_booked_paid_and_confirmed() {
    let stack = Stack::start(&[BOOK_HOTEL, CHARGE_CARD, CONFIRM_TRIP]).await;
    stack.request("T1", json!(null), 12_000).await;
    let (slots, ending) = stack.story("T1").await;
    assert_eq!(slots, ["requested", "hotel", "card", "closed"]);
    assert_eq!(ending, "trip.confirmed.v1");
    assert_eq!(stack.effects(), [("hotel", ONCE), ("bank", ONCE)]);
}

#[tokio::test]
async fn a_declined_card_frees_the_room() {
    let stack = Stack::start(&[BOOK_HOTEL, CHARGE_CARD, CONFIRM_TRIP]).await;
    stack.request("T2", json!("T2"), 100_001).await;
    let (slots, ending) = stack.story("T2").await;
    let back = ["card-undo", "hotel-undo", "closed"];
    assert_eq!(slots, [&["requested", "hotel", "card", "refused"][..], &back].concat());
    assert_eq!(ending, "trip.cancelled.v1");
    assert_eq!(stack.effects(), [("hotel", TAKEN_BACK), ("bank", NOTHING)]);
}

#[tokio::test]
async fn a_trip_that_names_another_is_parked() {
    let stack = Stack::start(&[BOOK_HOTEL]).await;
    stack.request("T3", json!("T4"), 12_000).await;
    let parked = stack.parked("T3").await;
    assert_eq!((&*parked.durable, &*parked.reason), ("book-hotel", "id-mismatch"));
    assert_eq!(parked.pointer, "/trip");
    assert_eq!(stack.effects(), [("hotel", NOTHING), ("bank", NOTHING)]);
}

#[tokio::test]
async fn a_worker_killed_after_it_charged_charges_no_second_time() {
    let mut stack = Stack::start(&[BOOK_HOTEL, CONFIRM_TRIP]).await;
    let endless = ("QUADRILLE_CHARGE_CARD__ANSWERS_AFTER", "1h");
    let killed = stack.worker(CHARGE_CARD, &[endless]);
    stack.request("T5", json!(null), 12_000).await;
    eventually("the charge", async || (stack.effects()[1].1 == ONCE).then_some(())).await;
    drop(killed);
    stack.workers.push(stack.worker(CHARGE_CARD, &[]));
    assert_eq!(stack.story("T5").await.1, "trip.confirmed.v1");
    assert_eq!(stack.effects(), [("hotel", ONCE), ("bank", ONCE)]);
}

#[tokio::test]
async fn the_query_worker_shows_trips_by_a_read_model_of_their_own() {
    let stack = Stack::start(&[BOOK_HOTEL, CHARGE_CARD, CONFIRM_TRIP]).await;
    let listen = ("QUADRILLE_QUERY__LISTEN", "127.0.0.1:0");
    let _query = stack.worker(QUERY_TRIPS, &[listen]);
    stack.request("T6", json!(null), 12_000).await;
    stack.request("T7", json!(null), 100_001).await;
    let trips = eventually("both trips in a list", async || {
        let trips = stack.ask("trips.list", json!({ "hotel": "Ritz", "order": "oldest" })).await?;
        let ended = |at: usize| trips["trips"][at]["waits_for"].is_null();
        (trips["trips"].as_array()?.len() == 2 && ended(0) && ended(1)).then_some(trips)
    })
    .await;
    let row = |at: usize| (&trips["trips"][at]["id"], &trips["trips"][at]["state"]);
    assert_eq!(row(0), (&json!("T6"), &json!("completed")));
    assert_eq!(row(1), (&json!("T7"), &json!("cancelled")));
    let details = json!({ "hotel": "Ritz", "amount": 100_001, "currency": "EUR" });
    assert_eq!(trips["trips"][1]["details"], details);
    assert_eq!(trips["trips"][1]["refused_at"], "card");
    let found = stack.ask("trips.find", json!({ "q": "card_1" })).await.unwrap();
    assert_eq!(found["found"].as_array().unwrap().len(), 2, "{found}");
}

const BOOK_HOTEL: &str = env!("CARGO_BIN_EXE_book-hotel");
const CHARGE_CARD: &str = env!("CARGO_BIN_EXE_charge-card");
const CONFIRM_TRIP: &str = env!("CARGO_BIN_EXE_confirm-trip");
const QUERY_TRIPS: &str = env!("CARGO_BIN_EXE_query-trips");

/// A server with the streams of the flow, and workers; fields are dropped in this order.
struct Stack {
    workers: Vec<Program>,
    broker: NatsBroker,
    url: String,
    _server: Program,
    folder: TempDir,
}

impl Stack {
    async fn start(workers: &[&str]) -> Self {
        let folder = tempdir().unwrap();
        let (server, url) = nats_server(folder.path()).await;
        // What a killed worker had in hand comes again after two seconds.
        let mut tool = Command::new(env!("CARGO_BIN_EXE_trip"));
        tool.args(["topology", "apply", "--write", "--ack-wait", "2s", "--nats", &url]);
        assert!(tool.status().unwrap().success());
        let options = NatsOptions { urls: vec![url.clone()], ..NatsOptions::default() };
        let broker = connect(&options).await.unwrap();
        let mut stack = Self { workers: Vec::new(), broker, url, _server: server, folder };
        stack.workers = workers.iter().map(|program| stack.worker(program, &[])).collect();
        stack
    }

    fn worker(&self, program: &str, settings: &[(&str, &str)]) -> Program {
        Program::start(program, |command| {
            // A setting of another saga in our environment would make it refuse to start.
            command.env_clear().env("QUADRILLE_NATS__URL", &self.url).current_dir(&self.folder);
            command.envs(settings.iter().copied());
        })
    }

    /// As a stock client does: `nats pub trips.requested.T1 '{…}'`.
    async fn request(&self, id: &str, trip: Value, amount: i64) {
        let price = json!({ "amount": amount, "currency": "EUR" });
        let data = json!({ "trip": trip, "hotel": "Ritz", "card": "card_1", "price": price });
        let subject = format!("trips.requested.{id}");
        let published = self.broker.publish(&subject, data.to_string().into()).await;
        assert!(matches!(published, Published::Stored { .. }), "{published:?}");
    }

    /// The slots of a trip that has ended, in the order of the log, and the type that ended it.
    async fn story(&self, id: &str) -> (Vec<String>, String) {
        let filter = FLOW.story(&SagaId::parse(id).unwrap());
        let slot = |stored: &Stored| FLOW.parse_subject(&stored.subject).unwrap().0.to_owned();
        eventually("the end of the trip", async || {
            let log = self.broker.last_of_many(FLOW.stream, vec![filter.clone()]).await.unwrap();
            let closed = log.iter().find(|stored| slot(stored) == "closed")?;
            let closed: Value = from_slice(&closed.payload).unwrap();
            Some((log.iter().map(slot).collect(), closed["type"].as_str()?.to_owned()))
        })
        .await
    }

    /// `None` while nobody serves it.
    async fn ask(&self, subject: &str, question: Value) -> Option<Value> {
        let answer = self.broker.request(subject, question.to_string().into()).await.ok()?;
        from_slice(&answer.ok()?).ok()
    }

    async fn parked(&self, id: &str) -> Parked {
        let filter = parked::filter(&FLOW, &SagaId::parse(id).unwrap());
        let stream = parked_stream_name(&FLOW);
        eventually("the parked message", async || {
            let found = self.broker.last_of_many(&stream, vec![filter.clone()]).await.unwrap();
            Some(from_slice(&found.first()?.payload).unwrap())
        })
        .await
    }

    fn effects(&self) -> [(&'static str, Effects); 2] {
        let settings = Settings { world: self.folder.path().into(), ..Settings::default() };
        ["hotel", "bank"].map(|service| (service, Book::of(service, &settings).effects()))
    }
}

/// Its store, ports and log are in `folder`.
async fn nats_server(folder: &Path) -> (Program, String) {
    let named = std::env::vars().find(|(name, _)| name == "QUADRILLE_NATS_SERVER");
    let program = named.map_or_else(|| "nats-server".to_owned(), |(_, program)| program);
    let version = Command::new(&program).arg("--version").output();
    version.expect("a nats-server, on PATH or named in QUADRILLE_NATS_SERVER");
    let server = Program::start(&program, |command| {
        command.current_dir(folder).args(["-a", "127.0.0.1", "-p", "-1", "-js", "-sd", "store"]);
        command.args(["-l", "server.log", "--ports_file_dir", "."]);
    });
    let url = async || {
        let mut files = folder.read_dir().ok()?.flatten().map(|file| file.path());
        let ports = files.find(|file| file.extension().is_some_and(|end| end == "ports"))?;
        let ports: Value = from_slice(&std::fs::read(ports).ok()?).ok()?;
        Some(ports["nats"][0].as_str()?.to_owned())
    };
    (server, eventually("the server's port", url).await)
}

/// A program that is killed (SIGKILL) with this value, or with the test, however that ends: the
/// shell between them kills it when its standard input closes.
struct Program(Child);

impl Program {
    fn start(program: &str, prepare: impl FnOnce(&mut Command)) -> Self {
        const KEEPER: &str = r#""$@" & read -r _; kill -9 $!; wait"#;
        let mut shell = Command::new("sh");
        shell.args(["-c", KEEPER, "sh", program]).stdin(Stdio::piped());
        prepare(&mut shell);
        Self(shell.spawn().unwrap())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.wait(); // Which closes the standard input.
    }
}

/// Looks every 10 ms until `look` finds something.
async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let mut again = interval(Duration::from_millis(10));
    let found = timeout(Duration::from_secs(60), async {
        loop {
            again.tick().await;
            if let Some(found) = look().await {
                return found;
            }
        }
    });
    found.await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}
