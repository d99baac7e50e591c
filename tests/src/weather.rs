//! The broker's storm: three servers of which one after the other stands still or is started again,
//! or whose leaders change, under a constant load of orders.
//!
//! No worker is disturbed. At the end every order has ended, and nothing happened twice.

use std::cell::Cell;
use std::fmt;
use std::time::Duration;

use clap::ValueEnum;
use quadrille::flow::Durable;
use quadrille::{Event, SagaId};
use schemas::order_fulfilment::FLOW;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::raw::Raw;
use crate::server::Server;
use crate::stack::{Fate, Follower, Launch, Stack, order};

/// What happens to the broker, again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Fault {
    /// One of the servers stands still for 13 s (SIGSTOP).
    Stop,
    /// One is killed and started again, or the leader of the log or of each durable steps down.
    Restart,
}

/// As long as in nats-server issue 8036, whose durables then passed messages over.
const STOPPED: Duration = Duration::from_secs(13);

/// Replicas of each worker.
const REPLICAS: usize = 2;

/// What happened.
#[derive(Debug)]
pub struct Summary {
    pub orders: usize,
    pub faults: usize,
    pub completed: usize,
    pub cancelled: usize,
    /// Publishes that had no answer, and were repeated.
    pub repeated: usize,
    /// Messages that a durable passed over, and that were handled from the log.
    pub passed_over: usize,
    /// Times that a worker said that messages do not come.
    pub stalls: usize,
    /// What `quadrille audit` says of log, stock and ledger.
    pub audit: String,
    pub took: Duration,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { orders, faults, completed, cancelled, repeated, .. } = self;
        let Self { passed_over, stalls, audit, took, .. } = self;
        let seconds = took.as_secs_f64();
        write!(
            f,
            "{faults} faults, {orders} orders, {completed} completed, {cancelled} cancelled; \
             {repeated} publishes repeated, {passed_over} messages passed over and handled, \
             {stalls} stalls said, in {seconds:.0} s; audit: {audit}"
        )
    }
}

/// Lets so many faults happen, one every `every` or as soon as the one before is over, under
/// `rate` orders a second.
///
/// # Panics
/// When an order does not end within two minutes of the last fault, a worker ends, an invariant is
/// violated, or `quadrille audit` finds anything.
pub async fn run(fault: Fault, faults: usize, every: Duration, rate: u32) -> Summary {
    let began = Instant::now();
    let mut stack = Stack::on_three_servers().await;
    let urls: Vec<_> =
        std::iter::once(&stack.server).chain(&stack.others).map(Server::url).collect();
    for row in FLOW.steps {
        for _ in 0..REPLICAS {
            let launch = Launch::of(row.worker).env("QUADRILLE_NATS__URL", urls.join(","));
            stack.start(launch).await;
        }
    }
    stack.fill_stock().await;
    let client = Raw::connect(&urls).await;
    let is_over = Cell::new(false);
    let mut servers: Vec<_> = std::iter::once(&mut stack.server).chain(&mut stack.others).collect();
    let faults_happen = async {
        let mut tick = interval(every);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for at in 0..faults {
            tick.tick().await;
            strike(fault, at, &mut servers, &client).await;
            eprintln!("{} of {faults} faults, {:.0?}", at + 1, began.elapsed());
        }
        tick.tick().await;
        is_over.set(true);
    };
    let ((), (ids, repeated)) = tokio::join!(faults_happen, place(&client, rate, &is_over));
    let ended = stack.closed_within(&ids, Duration::from_secs(120)).await;
    ended.unwrap_or_else(|open| panic!("{open}"));
    stack.quiet().await;
    stack.check().await;
    let mut summary = Summary {
        orders: ids.len(),
        faults,
        completed: 0,
        cancelled: 0,
        repeated,
        passed_over: 0,
        stalls: 0,
        audit: stack.audit().await,
        took: began.elapsed(),
    };
    count(&mut stack, &mut summary).await;
    summary
}

/// One fault, to its end.
async fn strike(fault: Fault, at: usize, servers: &mut [&mut Server], client: &Raw) {
    let count = servers.len();
    match (fault, at % 3) {
        (Fault::Stop, _) => {
            let process = &servers[at % count].process;
            process.pause();
            sleep(STOPPED).await;
            process.resume();
        }
        (Fault::Restart, 0) => servers[at / 3 % count].restart().await,
        (Fault::Restart, 1) => client.step_down(FLOW.stream).await,
        (Fault::Restart, _) => {
            for Durable { stream, name, .. } in FLOW.durables(None) {
                client.durable_step_down(&stream, &name).await;
            }
        }
    }
}

/// Places orders until all is over; which ones, and how many publishes had no answer.
async fn place(client: &Raw, rate: u32, is_over: &Cell<bool>) -> (Vec<SagaId>, usize) {
    let mut tick = interval(Duration::from_secs(1) / rate);
    let mut placed = JoinSet::new();
    for at in 0.. {
        tick.tick().await;
        if is_over.get() {
            break;
        }
        placed.spawn(place_one(client.clone(), at));
    }
    let (mut ids, mut repeated) = (Vec::new(), 0);
    while let Some(one) = placed.join_next().await {
        let (id, again) = one.expect("placing does not panic");
        ids.push(id);
        repeated += again;
    }
    (ids, repeated)
}

/// Publishes again, under the same guard, until the slot is known to be taken.
async fn place_one(client: Raw, at: usize) -> (SagaId, usize) {
    let id = SagaId::parse(&format!("weather-{at}")).expect("a short name");
    let fate = match at % 10 {
        3 => Fate::OutOfStock,
        5 => Fate::Declined,
        7 => Fate::NoCarrier,
        _ => Fate::Completes,
    };
    let subject = FLOW.slot(FLOW.opens.slot, &id).subject().to_owned();
    let body = order(fate, at).to_data().get().to_owned();
    let guard = [("Nats-Expected-Last-Subject-Sequence", "0")];
    for repeated in 0.. {
        match client.try_publish(&subject, &guard, &body).await {
            Ok(Ok(_) | Err((TAKEN, _))) => return (id, repeated),
            Ok(Err(_)) | Err(_) => sleep(Duration::from_millis(200)).await,
        }
    }
    unreachable!("it is tried for ever")
}

/// The slot holds something: this order, because nobody else places one of its name.
const TAKEN: u64 = 10071;

async fn count(stack: &mut Stack, summary: &mut Summary) {
    let filter = FLOW.filter(FLOW.closing().slot);
    let mut follower = Follower::of(stack.client(), FLOW.stream, &filter).await;
    for _ in 0..summary.orders {
        let is_completed = follower.next().await.payload;
        let is_completed = String::from_utf8_lossy(&is_completed).contains("order.completed.v1");
        summary.completed += usize::from(is_completed);
        summary.cancelled += usize::from(!is_completed);
    }
    for worker in &mut stack.workers {
        assert_eq!(worker.has_ended(), None, "{} ended:\n{}", worker.name(), worker.said());
        let metrics = worker.page("/metrics").await.expect("a worker serves its metrics");
        let sum = |name: &str| -> usize {
            let lines = metrics.lines().filter(|line| line.starts_with(name));
            lines.filter_map(|line| line.rsplit(' ').next()?.parse::<usize>().ok()).sum()
        };
        summary.passed_over += sum("quadrille_passed_over_total{");
        summary.stalls += sum("quadrille_stalls_total{");
    }
}
