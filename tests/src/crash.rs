//! The crash matrix: every place at which a crash of a worker could matter, and what is left after
//! the worker died there three times.
//!
//! A cell is a worker, a direction and a failpoint; the flow table determines which cells can
//! occur. Orders come in waves, and each wave meets a process that is armed to kill itself. Once
//! the worker has died three times, it runs unarmed: every order must end, and every invariant must
//! hold.

use std::fmt;
use std::sync::Mutex;
use std::time::Duration;

use quadrille::flow::Row;
use quadrille::ids::Direction;
use schemas::order_fulfilment::FLOW;
use tokio::time::Instant;

use crate::stack::{Armed, Fate, Launch, Stack, Supervisor};

/// Deaths a cell must have seen.
pub const KILLS: usize = 3;

/// One place of one worker, where it is killed.
#[derive(Debug, Clone, Copy)]
pub struct Cell {
    row: &'static Row,
    direction: Direction,
    place: &'static str,
}

impl Cell {
    /// Every cell that can occur.
    pub fn all() -> Vec<Self> {
        FLOW.steps.iter().flat_map(Self::of).collect()
    }

    fn of(row: &'static Row) -> Vec<Self> {
        let run = [
            Some("before-run"),
            row.pivot.map(|_| "after-pivot"),
            Some("after-effect"),
            Some("after-commit"),
            row.refused.map(|_| "after-refused-signal"),
            Some("before-ack"),
        ];
        let undo: &[&str] = match (row.undo, row.cancelled) {
            (Some(_), _) => &["before-run", "after-effect", "after-commit", "before-ack"],
            // Closing: the last undo is in the log, and the order is to be closed.
            (None, Some(_)) => &["after-commit", "before-ack"],
            (None, None) => &[],
        };
        let cell = |direction| move |place| Self { row, direction, place };
        let run = run.into_iter().flatten().map(cell(Direction::Run));
        run.chain(undo.iter().copied().map(cell(Direction::Undo))).collect()
    }

    /// The failpoint as the environment names it: `run.after-effect`.
    fn failpoint(&self) -> String {
        format!("{}.{}", self.direction.as_str(), self.place)
    }

    /// Whether an order of this fate passes this place.
    fn meets(&self, fate: Fate) -> bool {
        let position = |worker| FLOW.steps.iter().position(|row| row.worker == worker);
        let here = position(self.row.worker);
        let refused = fate.refused_by().and_then(position);
        match (self.direction, self.place) {
            (Direction::Run, "after-refused-signal") => refused == here,
            (Direction::Run, _) => refused.is_none() || here <= refused,
            (Direction::Undo, _) => {
                refused.is_some() && (self.row.cancelled.is_some() || here <= refused)
            }
        }
    }

    /// Fates of which three in four pass this place, and every fate that does is among them.
    fn fates(&self, orders: usize) -> Vec<Fate> {
        let (here, elsewhere): (Vec<_>, Vec<_>) =
            Fate::ALL.into_iter().partition(|fate| self.meets(*fate));
        let fate = |at: usize| match at % 4 {
            3 if !elsewhere.is_empty() => elsewhere[at / 4 % elsewhere.len()],
            _ => here[at % here.len()],
        };
        (0..orders).map(fate).collect()
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.row.worker, self.failpoint())
    }
}

/// The result of a cell.
#[derive(Debug)]
pub struct Report {
    pub cell: Cell,
    pub orders: usize,
    pub took: Duration,
    /// Times the worker was killed, or what went wrong.
    pub result: Result<usize, String>,
}

/// Runs these cells, `at_once` of them at a time, each with its own broker, sandbox and workers.
pub fn run_all(cells: &[Cell], orders: usize, at_once: usize) -> Vec<Report> {
    let (waiting, reports) = (Mutex::new(cells.iter().enumerate()), Mutex::new(Vec::new()));
    let next = || waiting.lock().expect("no code panics while it holds the lock").next();
    std::thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                while let Some((at, cell)) = next() {
                    let report = report(*cell, orders);
                    reports
                        .lock()
                        .expect("no code panics while it holds the lock")
                        .push((at, report));
                }
            });
        }
    });
    let mut reports = reports.into_inner().expect("no code panicked while it held the lock");
    reports.sort_by_key(|(at, _)| *at);
    reports.into_iter().map(|(_, report)| report).collect()
}

/// Runs a cell in a thread of its own, so that one that fails is a line of the table.
fn report(cell: Cell, orders: usize) -> Report {
    let began = Instant::now();
    let ended = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("the machine has resources").block_on(run(cell, orders))
    });
    let result = ended.join().map_err(|panic| words(&*panic));
    Report { cell, orders, took: began.elapsed(), result }
}

fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it panicked").to_owned()
}

/// One line per cell, and what went wrong below it.
pub fn table(reports: &[Report]) -> String {
    let mut table =
        format!("{:<46} {:>5} {:>6} {:>6}  result\n", "cell", "kills", "orders", "time");
    for Report { cell, orders, took, result } in reports {
        let seconds = took.as_secs_f64();
        let (kills, result) = match result {
            Ok(kills) => (kills.to_string(), "sound"),
            Err(why) => ("?".to_owned(), why.as_str()),
        };
        let name = cell.to_string();
        table += &format!("{name:<46} {kills:>5} {orders:>6} {seconds:>5.1}s  {result}\n");
    }
    table
}

/// Panics if the cell fails; returns how often the worker was killed.
async fn run(cell: Cell, orders: usize) -> usize {
    let mut stack = Stack::bare().await;
    stack.start_others(cell.row.worker).await;
    let armed = Armed::at(&stack, "kills", &cell.failpoint());
    let fates = cell.fates(orders);
    let wave = orders.div_ceil(KILLS + 1);
    let _supervisor = supervise(cell, &stack, armed.clone(), wave);
    stack.fill_stock().await;
    let mut placed = Vec::new();
    for (at, fates) in fates.chunks(wave).enumerate() {
        placed.extend(stack.place_all(&format!("wave-{at}"), fates).await);
        armed.happens_times(KILLS.min(at + 1)).await;
    }
    stack.closed(&placed).await;
    stack.quiet().await;
    stack.check().await;
    armed.times()
}

/// Keeps the cell's worker running: armed until it has died often enough, unarmed afterwards.
fn supervise(cell: Cell, stack: &Stack, armed: Armed, wave: usize) -> Supervisor {
    Supervisor::keep(stack.launcher(), move |_| {
        let kills = armed.times();
        if kills >= KILLS {
            return Launch::of(cell.row.worker);
        }
        // The first death comes at the first chance, the later ones among work in hand; more than
        // half of a wave passes this place.
        let hit = (1 + 2 * kills).min(wave.div_ceil(2));
        armed.kills_at_hit(cell.row.worker, hit)
    })
}
