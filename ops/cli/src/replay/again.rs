//! Places the orders of a log again, in the order and at the pace that is asked for, and compares.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::stream::{self, StreamExt, TryStreamExt};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use quadrille::{Event, SagaId};
use quadrille_tool::output::{self, Ui};
use schemas::order_fulfilment::FLOW;
use schemas::order_fulfilment::events::OrderPlaced;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::compare::{compare, counts};
use super::report::{Report, sides};
use super::stage::{Pace, Stage};
use super::tale::{Missing, Tale, Tales};

/// Replays all, and compares once they have ended.
pub(super) async fn all(
    tales: Tales,
    stage: &mut Stage,
    pace: Pace,
    json: bool,
    ui: Ui,
) -> anyhow::Result<Report> {
    let mut report = Report::new(tales.span(), json);
    let tales: Vec<_> = tales.tales.into_iter().filter(|tale| report.takes(tale)).collect();
    let progress = bar(tales.len() as u64, ui);
    let shelves = Shelves::of(&tales);
    let mut told = Instant::now();
    for (missing, group) in shelves.groups(&tales) {
        stage.stock(&shelves.skus, missing.as_ref().map(|(sku, how)| (sku.as_str(), *how))).await?;
        place(&group, stage, pace).await?;
        let ids: Vec<SagaId> = group.iter().map(|tale| tale.id.clone()).collect();
        stage
            .until_ended(&ids, |ended| {
                progress.set_position(ended as u64);
                if !ui.watched && told.elapsed() > Duration::from_secs(5) {
                    told = Instant::now();
                    ui.note(format!("{ended} of {} orders have ended", tales.len()));
                }
            })
            .await?;
    }
    progress.finish_and_clear();
    let nothing = BTreeMap::new();
    for tale in &tales {
        let now = stage.told.get(&tale.id).unwrap_or(&nothing);
        report.add(tale, compare(tale, now))?;
    }
    Ok(report)
}

/// Orders that may wait for their answer at once, as in `quadrille place`.
const IN_FLIGHT: usize = 256;

/// As they came, or faster; reads meanwhile nothing, because the pace matters.
async fn place(tales: &[&Tale], stage: &Stage, pace: Pace) -> anyhow::Result<()> {
    let (began, Some(first)) = (Instant::now(), tales.first()) else { return Ok(()) };
    let placed = stream::iter(tales).map(Ok).try_for_each_concurrent(IN_FLIGHT, async |tale| {
        let after = tale.placed_at().duration_since(first.placed_at());
        sleep_until(began + pace.due(Duration::try_from(after).unwrap_or_default())).await;
        stage.place(tale).await
    });
    placed.await
}

/// One order after the other, and of each one event after the other.
pub(super) async fn step_by_step(
    tales: Tales,
    stage: &mut Stage,
    ui: Ui,
) -> anyhow::Result<Report> {
    let mut report = Report::new(tales.span(), false);
    let tales: Vec<_> = tales.tales.into_iter().filter(|tale| report.takes(tale)).collect();
    let shelves = Shelves::of(&tales);
    let mut keys = keys();
    for (missing, group) in shelves.groups(&tales) {
        stage.stock(&shelves.skus, missing.as_ref().map(|(sku, how)| (sku.as_str(), *how))).await?;
        for tale in group {
            ui.note(format!("order {}: Enter for its next event", tale.id));
            stage.place(tale).await?;
            stage.until_ended(std::slice::from_ref(&tale.id), |_| {}).await?;
            let now = stage.told.get(&tale.id).cloned().unwrap_or_default();
            let mut slots: Vec<_> = tale.events.iter().chain(&now).collect();
            slots.sort_by_key(|(_, told)| told.sequence);
            let mut shown = BTreeSet::new();
            for (slot, _) in slots.into_iter().filter(|(slot, _)| shown.insert(slot.as_str())) {
                // At the end of stdin the rest is shown without waiting.
                let _ = keys.recv().await;
                let (recorded, now) = (tale.events.get(slot), now.get(slot));
                let differ = counts(tale, slot, recorded, now);
                output::data(&sides(slot, recorded, now, differ))?;
            }
            report.add(tale, compare(tale, &now))?;
        }
    }
    Ok(report)
}

/// One for each line of stdin; read in a thread of its own, which ends with the process.
fn keys() -> mpsc::Receiver<()> {
    let (sender, receiver) = mpsc::channel(1);
    std::thread::spawn(move || {
        for _line in std::io::stdin().lines().map_while(Result::ok) {
            if sender.blocking_send(()).is_err() {
                return;
            }
        }
    });
    receiver
}

/// What the orders need on the shelves.
struct Shelves {
    skus: BTreeSet<String>,
}

/// Orders that are placed against the same shelves.
type Group<'t> = (Option<(String, Missing)>, Vec<&'t Tale>);

impl Shelves {
    fn of(tales: &[Tale]) -> Self {
        let mut skus = BTreeSet::new();
        for tale in tales {
            let document: Value = serde_json::from_slice(&tale.placed.payload).unwrap_or_default();
            let data = document.get("data").unwrap_or(&document);
            if let Ok(placed) = OrderPlaced::from_data(FLOW.opens.event, &data.to_string()) {
                skus.extend(placed.lines.iter().map(|line| line.sku.as_str().to_owned()));
            }
        }
        Self { skus }
    }

    /// What nobody knew comes first, because a shelf once filled stays known; then what was out of
    /// stock, shelf by shelf; then all else.
    fn groups<'t>(&self, tales: &'t [Tale]) -> Vec<Group<'t>> {
        let mut groups: Vec<Group<'t>> = Vec::new();
        for tale in tales {
            let missing = tale.missing();
            match groups.iter_mut().find(|(of, _)| *of == missing) {
                Some((_, group)) => group.push(tale),
                None => groups.push((missing, vec![tale])),
            }
        }
        groups.sort_by_key(|(missing, _)| match missing {
            Some((_, Missing::Unknown)) => 0,
            Some((_, Missing::Empty)) => 1,
            None => 2,
        });
        groups
    }
}

fn bar(orders: u64, ui: Ui) -> ProgressBar {
    let target =
        if ui.watched { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} orders, {eta} left");
    ProgressBar::with_draw_target(Some(orders), target)
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
