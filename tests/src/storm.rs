//! The replica storm: several replicas of every worker, killed and restarted throughout, while many
//! orders arrive, some of them twice, acknowledgements get lost and every durable is reset once.
//!
//! The promise of `closed` is checked as each one arrives: an order that reads cancelled holds
//! neither money nor stock at that very moment.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use futures::future::join_all;
use quadrille::SagaId;
use schemas::order_fulfilment::FLOW;
use serde_json::json;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use crate::stack::{Fate, Follower, Launch, Stack, Supervisor, order};

/// Replicas of each worker.
const REPLICAS: usize = 3;

/// Share of the acknowledgements that the workers lose.
const LOST_ACKS: f64 = 0.05;

/// Most orders under way at once: enough to keep every replica busy, few enough that faults meet
/// orders in every phase.
const UNDER_WAY: usize = 250;

/// Orders placed at once.
const WAVE: usize = 50;

/// How often a replica is killed.
const KILL_EVERY: Duration = Duration::from_millis(700);

/// What happened.
#[derive(Debug)]
pub struct Summary {
    /// Placed, and accepted by the broker.
    pub orders: usize,
    pub completed: usize,
    pub cancelled: usize,
    /// Second publishes, each refused.
    pub repeated: usize,
    pub lost_acks: usize,
    /// Replicas that the storm killed; none ended in any other way.
    pub kills: usize,
    pub resets: usize,
    /// What `quadrille audit` says of log, stock and ledger.
    pub audit: String,
    pub took: Duration,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { orders, completed, cancelled, repeated, .. } = self;
        let Self { lost_acks, kills, resets, audit, took, .. } = self;
        let seconds = took.as_secs_f64();
        write!(
            f,
            "{orders} orders, {completed} completed, {cancelled} cancelled; {repeated} published \
             twice, {lost_acks} acknowledgements lost, {kills} replicas killed, {resets} durables \
             reset, in {seconds:.0} s; audit: {audit}"
        )
    }
}

/// The storm while it lasts.
struct Storm {
    stack: Stack,
    orders: usize,
    replicas: Vec<Supervisor>,
    placed: Cell<usize>,
    closed: Cell<usize>,
    completed: Cell<usize>,
    cancelled: Cell<usize>,
    repeated: Cell<usize>,
    resets: Cell<usize>,
    violations: RefCell<Vec<String>>,
}

/// Runs a storm of this many orders.
///
/// # Panics
/// When an order does not end, any invariant is violated, `quadrille audit` finds anything, or a
/// replica ends that the storm did not kill.
pub async fn run(orders: usize) -> Summary {
    let began = Instant::now();
    let stack = Stack::bare().await;
    let log = lost_acks(&stack);
    let launch = move |worker| {
        Launch::of(worker)
            .with_failpoints()
            .env("QUADRILLE_FAILPOINT_LOST_ACKS", LOST_ACKS)
            .env("QUADRILLE_FAILPOINT_LOG", log.display())
            .env("QUADRILLE_LOG__LEVEL", "warn")
    };
    let workers = FLOW.steps.iter().flat_map(|row| [row.worker; REPLICAS]);
    let replicas = workers.map(|worker| {
        Supervisor::keep(stack.launcher(), {
            let launch = launch.clone();
            move |_| launch(worker)
        })
    });
    let storm = Storm {
        replicas: replicas.collect(),
        stack,
        orders,
        placed: Cell::default(),
        closed: Cell::default(),
        completed: Cell::default(),
        cancelled: Cell::default(),
        repeated: Cell::default(),
        resets: Cell::default(),
        violations: RefCell::default(),
    };
    storm.stack.fill_stock().await;
    // Ten orders a second is far below what a small machine handles.
    let limit = Duration::from_secs(120 + orders as u64 / 10);
    let all = async { tokio::join!(storm.place(), storm.reset(), storm.watch()) };
    tokio::select! {
        ended = timeout(limit, all) => {
            assert!(ended.is_ok(), "{} of {orders} orders closed in {limit:?}", storm.closed.get());
        }
        never = storm.kill() => match never {},
    }
    storm.stack.quiet().await;
    storm.stack.check().await;
    let violations = storm.violations.take();
    assert!(violations.is_empty(), "{}", violations.join("\n"));
    let audit = storm.stack.audit().await;
    storm.summary(audit, began.elapsed())
}

/// One line per violation.
fn lost_acks(stack: &Stack) -> PathBuf {
    stack.launcher().folder().join("lost-acks")
}

/// Looks until it is true; the storm as a whole has a limit.
async fn until(so: impl Fn() -> bool) {
    while !so() {
        sleep(Duration::from_millis(10)).await;
    }
}

/// One in ten is refused at each of the three places.
fn fate(at: usize) -> Fate {
    match at % 10 {
        3 => Fate::OutOfStock,
        5 => Fate::Declined,
        7 => Fate::NoCarrier,
        _ => Fate::Completes,
    }
}

impl Storm {
    async fn place(&self) {
        for first in (0..self.orders).step_by(WAVE) {
            until(|| self.placed.get() - self.closed.get() <= UNDER_WAY).await;
            let wave = first..self.orders.min(first + WAVE);
            join_all(wave.map(|at| self.place_one(at))).await;
        }
    }

    async fn place_one(&self, at: usize) {
        let id = SagaId::parse(&format!("storm-{at}")).expect("a short name");
        self.stack.place(&id, &order(fate(at), at)).await.expect("a new order");
        self.placed.set(self.placed.get() + 1);
        if at.is_multiple_of(20) {
            let again = self.stack.publish(&id, &order(fate(at), at)).await;
            again.expect_err("the second message of a slot is refused");
            self.repeated.set(self.repeated.get() + 1);
        }
    }

    /// Each durable starts again from the beginning, once, at its own point of the storm.
    async fn reset(&self) {
        let durables = FLOW.durables(None).into_iter();
        let durables: Vec<_> = durables.filter(|durable| durable.stream == FLOW.stream).collect();
        for (durable, at) in durables.iter().zip(1..) {
            let share = self.orders * at / (durables.len() + 1);
            until(|| self.closed.get() >= share).await;
            let verb = format!("CONSUMER.RESET.{}.{}", FLOW.stream, durable.name);
            let reset = self.stack.raw.api(&verb, json!({ "seq": 1 })).await;
            reset.expect("the server resets a durable");
            self.resets.set(self.resets.get() + 1);
        }
    }

    /// Checks what each ending promises at the moment it can be read.
    async fn watch(&self) {
        let filter = FLOW.filter(FLOW.closing().slot);
        let mut follower = Follower::of(self.stack.client(), FLOW.stream, &filter).await;
        while self.closed.get() < self.orders {
            let message = follower.next().await;
            let (_, id) = FLOW.parse_subject(&message.subject).expect("a subject of the flow");
            let ending = String::from_utf8_lossy(&message.payload);
            let completed = ending.contains("order.completed.v1");
            let cancelled = ending.contains("order.cancelled.v1");
            let (balance, hold) =
                tokio::join!(self.stack.sandbox.balance(&id), self.stack.hold(&id));
            let holds_stock = hold.is_some_and(|hold| hold["released"] == false);
            if completed != (balance > 0) || completed != holds_stock {
                let what = if completed { "completed" } else { "cancelled" };
                let line = format!("{id} read {what}: {balance} held, stock held: {holds_stock}");
                self.violations.borrow_mut().push(line);
            }
            self.completed.set(self.completed.get() + usize::from(completed));
            self.cancelled.set(self.cancelled.get() + usize::from(cancelled));
            self.closed.set(self.closed.get() + 1);
        }
    }

    /// Kills one replica after the other, at random.
    async fn kill(&self) -> std::convert::Infallible {
        let mut tick = interval(KILL_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            self.replicas[fastrand::usize(..self.replicas.len())].kill();
        }
    }

    /// How many replicas were killed.
    ///
    /// # Panics
    /// When one has ended in another way.
    fn kills(&self) -> usize {
        let ends: Vec<_> = self.replicas.iter().flat_map(Supervisor::ends).collect();
        let others: Vec<_> = ends.iter().filter(|end| !end.was_ordered()).collect();
        assert!(others.is_empty(), "replicas ended that nobody killed: {others:?}");
        ends.len()
    }

    fn summary(&self, audit: String, took: Duration) -> Summary {
        Summary {
            orders: self.placed.get(),
            completed: self.completed.get(),
            cancelled: self.cancelled.get(),
            repeated: self.repeated.get(),
            lost_acks: std::fs::read_to_string(lost_acks(&self.stack))
                .map_or(0, |text| text.lines().count()),
            kills: self.kills(),
            resets: self.resets.get(),
            audit,
            took,
        }
    }
}
