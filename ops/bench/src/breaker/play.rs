//! One row from beginning to end: orders, trouble, the end of the trouble, and what is left.

use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use quadrille::breaker::fleet::Phase;
use schemas::order_fulfilment::FLOW;
use serde_json::json;
use tokio::time::{Instant, sleep, sleep_until};

use super::args::{Arguments, Design};
use super::door::Mode;
use super::history::{History, Step};
use super::load::Load;
use super::row::{Row, Trouble, Turn, WARM_UP};
use super::scene::{CALL_MS, STEP, Scene, within};
use super::turns;
use crate::raw::counts::Durable;

/// How soon after the beginning of an outage no more orders come, where that is the point.
const FEW_MORE: Duration = Duration::from_secs(3);
const LOOK: Duration = Duration::from_millis(250);

/// What was seen, before anything is judged.
pub(crate) struct Observed {
    pub(crate) wasted: u64,
    pub(crate) probes: u64,
    pub(crate) burnt: u64,
    pub(crate) parked: Vec<String>,
    pub(crate) paused: Duration,
    pub(crate) detect: Option<Duration>,
    pub(crate) first_good: Option<Duration>,
    pub(crate) placed: usize,
    pub(crate) odd: usize,
    pub(crate) answered: u64,
    pub(crate) last_phase: Phase,
    pub(crate) key: Vec<Step>,
    /// What a turn of the row found wrong.
    pub(crate) wrong: Vec<String>,
}

/// When something was, on both clocks.
#[derive(Debug, Clone, Copy)]
struct Moment {
    here: Instant,
    on_the_wall: Timestamp,
}

impl Moment {
    fn now() -> Self {
        Self { here: Instant::now(), on_the_wall: Timestamp::now() }
    }
}

pub(crate) async fn play(
    args: &Arguments,
    row: &'static Row,
    design: Design,
    say: &(dyn Fn(&str) + Sync),
) -> anyhow::Result<Observed> {
    let mut scene = within("the row is set up", Scene::set(args, row, design)).await??;
    let played = in_scene(args, row, &mut scene, say).await;
    if let Some(folder) = &args.logs {
        scene.keep_logs(&folder.join(format!("{}-{}", row.name, design.name())))?;
    }
    played.map_err(|error| anyhow::anyhow!("{error:#}{}", scene.said()))
}

async fn in_scene(
    args: &Arguments,
    row: &'static Row,
    scene: &mut Scene,
    say: &(dyn Fn(&str) + Sync),
) -> anyhow::Result<Observed> {
    let history = History::of(&scene.broker);
    let load = Load::new(row, &scene.counts)?;
    let backlog = row.backlog.get(args.form());
    if backlog > 0 {
        say(&format!("places {backlog} orders"));
        load.place(backlog).await?;
        until_reserved(scene, backlog).await?;
    }
    scene.start_replicas().await?;
    let mut placing = load.start(row.rate.get(args.form()));
    // A backlog must not be gone before anything goes wrong.
    sleep(if backlog > 0 { WARM_UP / 5 } else { WARM_UP }).await;
    let lasts = row.lasts(args.form());
    say(&format!("{} for {lasts:?}", row.name));
    let (met, failed) = (scene.met().await?, scene.failed_calls());
    let began = Moment::now();
    let end = began.here + lasts;
    begin(row, scene).await?;
    let wrong = middle(row, scene, &history, &load, end).await?;
    sleep_until(end).await;
    let wasted = match row.trouble {
        Trouble::Doors(_, Mode::Shut) => scene.failed_calls() - failed,
        _ => scene.met().await? - met,
    };
    heal(scene).await?;
    let over = Moment::now();
    say("waits for what is left");
    sleep(row.after()).await;
    load.stop();
    while let Some(placed) = placing.join_next().await {
        placed??;
    }
    let end = over.here + row.after() + row.patience(args.form());
    settle(scene, &load, &history, end).await?;
    let given = Instant::now();
    let (placed, odd) = (load.placed(), load.odd());
    let durable = scene.counts.durable(STEP).await?;
    let triggers = scene.counts.stored(FLOW.steps[0].slot).await?;
    let first = scene.counts.first_since(slot()?, &over.on_the_wall.to_string()).await?;
    let first = first.map(|at| Duration::from_nanos(at.saturating_sub(nanoseconds(over))));
    Ok(Observed {
        wasted,
        probes: history.probes(),
        burnt: (durable.deliveries + durable.pending).saturating_sub(triggers),
        parked: scene.counts.parked().await?,
        paused: history.paused(given),
        detect: history.first(Phase::Paused, began.here).map(|at| at - began.here),
        first_good: first.filter(|_| row.is_outage()),
        placed,
        odd,
        answered: scene.counts.stored(slot()?).await?,
        last_phase: history.phase(),
        key: history.steps(began.here),
        wrong,
    })
}

fn slot() -> anyhow::Result<&'static str> {
    FLOW.row(STEP).map(|row| row.slot).context("the step under test has a row")
}

fn nanoseconds(moment: Moment) -> u64 {
    u64::try_from(moment.on_the_wall.as_nanosecond()).unwrap_or(0)
}

async fn begin(row: &Row, scene: &Scene) -> anyhow::Result<()> {
    match row.trouble {
        Trouble::Nothing => Ok(()),
        Trouble::Errors | Trouble::Flapping(_) => scene.set_faults(&down()).await,
        Trouble::Hang => scene.set_faults(&json!({ "hang_rate": 1 })).await,
        Trouble::Doors(count, mode) => {
            scene.doors.iter().take(count).for_each(|door| door.set(mode));
            Ok(())
        }
        Trouble::Random(share) => {
            let faults = json!({
                "operations": ["create"],
                "error_rate": share,
                "error_status": 500,
                "latency_ms": CALL_MS,
            });
            scene.set_faults(&faults).await
        }
        Trouble::Slow(times) => {
            // Half in each request, because the worker waits 2 s for each.
            scene.set_faults(&json!({ "latency_ms": CALL_MS * times / 2 })).await
        }
    }
}

/// A service that fails at once.
fn down() -> serde_json::Value {
    json!({ "error_rate": 1, "error_status": 500, "latency_ms": 10 })
}

/// What happens while it lasts; returns what was found wrong.
async fn middle(
    row: &Row,
    scene: &mut Scene,
    history: &History,
    load: &Load,
    end: Instant,
) -> anyhow::Result<Vec<String>> {
    if let Trouble::Flapping(seconds) = row.trouble {
        let each = Duration::from_secs(seconds);
        let mut is_down = true;
        while Instant::now() + each < end {
            sleep(each).await;
            is_down = !is_down;
            if is_down { scene.set_faults(&down()).await? } else { scene.heal().await? }
        }
    }
    match row.turn {
        Turn::None => Ok(Vec::new()),
        Turn::NoMoreOrders => {
            sleep(FEW_MORE).await;
            load.stop();
            Ok(Vec::new())
        }
        Turn::ProberKilled => turns::kill_the_prober(scene, history, end).await,
        Turn::ServerKilled => turns::kill_the_server(scene).await,
        Turn::WorkersKilled => turns::kill_the_workers(scene).await,
        Turn::Reconnect => turns::reconnect(scene, history).await,
        Turn::Drain => turns::drain(scene, history).await,
    }
}

async fn heal(scene: &Scene) -> anyhow::Result<()> {
    scene.doors.iter().for_each(|door| door.set(Mode::Open));
    scene.heal().await
}

/// Until nothing is left to do, or there is no more time.
async fn settle(scene: &Scene, load: &Load, history: &History, end: Instant) -> anyhow::Result<()> {
    let first = FLOW.steps[0].worker;
    while Instant::now() < end {
        let parked = scene.counts.parked().await?.len();
        let left = |durable: Durable| durable.pending + durable.in_hand;
        let reserving = left(scene.counts.durable(first).await?);
        let waiting = left(scene.counts.durable(STEP).await?);
        let is_flowing = history.phase() == Phase::Flowing;
        if is_flowing && reserving == 0 && waiting <= load.odd().saturating_sub(parked) as u64 {
            break;
        }
        sleep(LOOK).await;
    }
    Ok(())
}

async fn until_reserved(scene: &Scene, backlog: usize) -> anyhow::Result<()> {
    let reserved = async {
        while scene.counts.stored(FLOW.steps[0].slot).await? < backlog as u64 {
            sleep(LOOK).await;
        }
        anyhow::Ok(())
    };
    within("the backlog is reserved", reserved).await?
}
