//! What happens in the middle of an outage, besides the outage: processes and connections go away.

use std::time::Duration;

use quadrille::breaker::fleet::Phase;
use tokio::time::{Instant, sleep};

use super::door::{Door, Mode};
use super::history::History;
use super::scene::{STEP, Scene, within};

/// How long the outage has lasted when it happens.
const LATER: Duration = Duration::from_secs(12);
/// How long the server, or all workers, are gone.
const GONE: Duration = Duration::from_secs(4);
/// A pause must have come by then.
const PATIENCE: Duration = Duration::from_secs(30);
/// A request that waits may be served or withdrawn this late.
const SETTLES: Duration = Duration::from_millis(500);
const LOOK: Duration = Duration::from_millis(20);
/// What is held is given back at once; nothing that a replica has to wait for is in hand.
const DRAIN: Duration = Duration::from_secs(10);
/// How often the prober dies.
const KILLS: usize = 2;

/// Kills the replica behind whose door a probe hangs.
pub(crate) async fn kill_the_prober(
    scene: &mut Scene,
    history: &History,
    end: Instant,
) -> anyhow::Result<Vec<String>> {
    // The doors say who calls; they swallow the call as the gateway does.
    scene.doors.iter().for_each(|door| door.set(Mode::Hole));
    for kill in 0..KILLS {
        if !history.says(Phase::Probing, PATIENCE).await {
            return Ok(vec![format!("no replica probed before kill {}", kill + 1)]);
        }
        let before: Vec<_> = scene.doors.iter().map(Door::met).collect();
        let prober = loop {
            let called = |(door, before): (&Door, &u64)| door.met() > *before;
            let found = scene.doors.iter().zip(&before).position(called);
            if found.is_some() || Instant::now() > end {
                break found;
            }
            sleep(LOOK).await;
        };
        let Some(prober) = prober else { break };
        scene.replace(prober).await?;
        history.says(Phase::Paused, PATIENCE).await;
    }
    Ok(Vec::new())
}

pub(crate) async fn kill_the_server(scene: &mut Scene) -> anyhow::Result<Vec<String>> {
    sleep(LATER).await;
    scene.server.process.kill();
    sleep(GONE).await;
    within("the server starts again", scene.server.restart()).await?;
    Ok(Vec::new())
}

pub(crate) async fn kill_the_workers(scene: &mut Scene) -> anyhow::Result<Vec<String>> {
    sleep(LATER).await;
    scene.replicas.iter().for_each(|replica| replica.kill());
    sleep(GONE).await;
    scene.start_replicas().await?;
    Ok(Vec::new())
}

/// After it, no pull request may wait at the server until the next probe.
pub(crate) async fn reconnect(scene: &mut Scene, history: &History) -> anyhow::Result<Vec<String>> {
    let mut wrong = Vec::new();
    if scene.counts.durable(STEP).await?.waiting == 0 {
        wrong.push(
            "no pull request waited before the pause, so none can be missed in it".to_owned(),
        );
    }
    sleep(LATER).await;
    if !history.says(Phase::Paused, PATIENCE).await {
        wrong.push("the fleet was not paused when the connections were lost".to_owned());
    }
    scene.to_server.set(Mode::Shut);
    sleep(SETTLES).await;
    scene.to_server.set(Mode::Open);
    let mut looked = 0;
    let end = Instant::now() + LATER;
    let mut paused_since = None;
    while Instant::now() < end {
        let before = history.marks().last().map(|mark| mark.revision);
        let durable = scene.counts.durable(STEP).await?;
        let marks = history.marks();
        let is_same = marks.last().map(|mark| mark.revision) == before;
        let is_paused = history.phase() == Phase::Paused && is_same;
        let since =
            if is_paused { *paused_since.get_or_insert(Instant::now()) } else { Instant::now() };
        if !is_paused {
            paused_since = None;
        } else if since.elapsed() > SETTLES {
            looked += 1;
            if durable.waiting > 0 && wrong.is_empty() {
                wrong.push(format!("{} pull requests wait in a pause", durable.waiting));
            }
        }
        sleep(LOOK * 5).await;
    }
    if looked == 0 {
        wrong.push("there was no pause to look at after the reconnect".to_owned());
    }
    Ok(wrong)
}

/// Every replica ends by itself, and what it held comes back at once.
pub(crate) async fn drain(scene: &mut Scene, history: &History) -> anyhow::Result<Vec<String>> {
    sleep(LATER).await;
    let mut wrong = Vec::new();
    if !history.says(Phase::Paused, PATIENCE).await {
        wrong.push("the fleet was not paused when the replicas were told to stop".to_owned());
    }
    let began = Instant::now();
    let ends = scene.replicas.iter_mut().map(|replica| replica.shut_down());
    let ends = within("the replicas end", futures::future::join_all(ends)).await?;
    let took = began.elapsed();
    if let Some(bad) = ends.iter().find(|status| !status.success()) {
        wrong.push(format!("a replica that was told to stop ended with {bad}"));
    }
    if took > DRAIN {
        wrong.push(format!("the replicas took {took:?} to stop"));
    }
    scene.start_replicas().await?;
    Ok(wrong)
}
