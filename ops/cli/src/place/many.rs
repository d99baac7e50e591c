//! Many orders at an even pace, never more in flight than asked for, so that a slow broker slows
//! the command down instead of filling its memory.

use std::fmt::Write;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{anyhow, bail};
use clap::Args;
use futures::stream::{self, FuturesUnordered};
use futures::{Stream, StreamExt};
use indicatif::{HumanDuration, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use quadrille::SagaId;
use quadrille::broker::Broker;
use quadrille::log::open::When;
use quadrille::log::story::Occupied;
use quadrille::nats::NatsBroker;
use quadrille_tool::output::{Ui, duration};
use quadrille_tool::values::whole;
use tokio::time::{Instant, sleep_until};

use super::looks::{AT_ONCE, Looks};
use super::one::{Receipt, place};
use super::order::{Order, Template, random_text};
use super::room::{RESERVED, Room};
use crate::dev::stop_signal;

/// How many, and how fast.
#[derive(Debug, Args)]
pub(super) struct Many {
    /// Place this many orders, with ids PREFIX-1, PREFIX-2, …
    #[arg(long, value_name = "N", conflicts_with = "id", group = "many")]
    #[arg(allow_negative_numbers = true)]
    #[arg(value_parser = whole(1..=u32::MAX, "a number of orders such as 1000"))]
    count: Option<u32>,
    /// Orders a second; without it, as fast as the broker stores them
    #[arg(long, value_name = "R", requires = "count", value_parser = rate)]
    rate: Option<f64>,
    /// What the ids of many orders begin with: PREFIX-1, … (of --lines: PREFIX-LINE where a line
    /// names none, in an array PREFIX-ELEMENT); without it, --count takes a new random text
    #[arg(long, requires = "many")]
    pub(super) prefix: Option<String>,
    /// Orders that may wait for their answer at once
    #[arg(long, value_name = "N", default_value = "256", requires = "many")]
    #[arg(value_parser = whole(1..=u32::MAX, "a number of orders such as 256"))]
    pub(super) in_flight: u32,
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate| (0.001..=1e6).contains(rate));
    rate.ok_or_else(|| "expected 0.001 to 1000000 orders a second, such as 200".to_owned())
}

/// Failures that are told one by one.
const TOLD: u32 = 10;

/// What was asked for, checked.
pub(super) struct Plan {
    count: u32,
    /// Time from one order to the next.
    gap: Option<Duration>,
    prefix: String,
    /// Whether the prefix is new, so that no id can have been used before.
    is_new: bool,
    in_flight: usize,
}

impl Many {
    /// What to place; `None` where one order is to be placed.
    pub(super) fn plan(&self) -> anyhow::Result<Option<Plan>> {
        let Some(count) = self.count else { return Ok(None) };
        let gap = self.rate.map(|rate| Duration::from_secs_f64(1.0 / rate));
        let prefix = match &self.prefix {
            Some(prefix) => prefix.clone(),
            None => format!("load-{}", random_text(4)),
        };
        let (is_new, in_flight) = (self.prefix.is_none(), self.in_flight as usize);
        let plan = Plan { count, gap, prefix, is_new, in_flight };
        plan.id(plan.count)?;
        Ok(Some(plan))
    }
}

impl Plan {
    fn id(&self, number: u32) -> anyhow::Result<SagaId> {
        let id = format!("{}-{number}", self.prefix);
        SagaId::parse(&id).map_err(|error| anyhow!("--prefix makes {id:?}: {error}"))
    }

    /// The orders' numbers and ids, each with what spends it: looked up while others are sent.
    fn orders<'a>(&'a self, looks: &'a Looks<'_>) -> impl Stream<Item = Numbered> + 'a {
        let looked_at = move |numbers: Vec<u32>| async move {
            let ids = numbers.iter().map(|number| self.id(*number));
            let ids: Vec<_> = ids.map(|id| id.expect("the longest was checked")).collect();
            let spent = match self.is_new {
                true => vec![None; ids.len()],
                false => looks.spent(&ids.iter().collect::<Vec<_>>()).await,
            };
            let ids = numbers.into_iter().zip(ids).zip(spent);
            stream::iter(ids.map(|((number, id), spent)| (number, id, spent)))
        };
        stream::iter(1..=self.count).chunks(AT_ONCE).map(looked_at).buffered(2).flatten()
    }
}

/// An order's number and id, and what spends that.
type Numbered = (u32, SagaId, Option<Occupied>);

/// What became of all the orders.
#[derive(Debug, Default)]
struct Tally {
    placed: u32,
    already_placed: u32,
    /// Placed by this call or an earlier one.
    unknown: u32,
    failed: u32,
    /// The lowest and the highest; answers come in any order.
    sequences: Option<(u64, u64)>,
}

pub(super) async fn run(
    broker: &NatsBroker,
    template: &Template,
    plan: &Plan,
    json: bool,
    ui: Ui,
) -> anyhow::Result<ExitCode> {
    if template.named().is_some() {
        bail!("this order names its own id, so there can be only one of it; leave --count out");
    }
    let began = Instant::now();
    let bar = bar(plan.count, ui);
    let mut tally = Tally::default();
    let mut pending = FuturesUnordered::new();
    let (looks, mut room, mut is_full) = (Looks::new(broker), Room::default(), false);
    let (mut orders, mut reading) = (std::pin::pin!(plan.orders(&looks)), true);
    let (mut told, mut stop) = (began, std::pin::pin!(stop_signal()?));
    let interrupted = loop {
        if !reading && pending.is_empty() {
            break None;
        }
        let has_place = reading && pending.len() < plan.in_flight;
        let placed = tokio::select! {
            biased;
            signal = &mut stop => break Some(signal),
            next = orders.next(), if has_place => {
                reading = next.is_some();
                let Some((number, id, spent)) = next else { continue };
                let order = Order::new(template, &id)?;
                if !room.takes(broker, order.opening.payload.len() as u64).await {
                    (is_full, reading) = (true, false);
                    continue;
                }
                let due = began + plan.gap.map_or(Duration::ZERO, |gap| gap * (number - 1));
                pending.push(async move {
                    if let Some(spent) = spent {
                        bail!("{id} was not sent: {}", spent.what());
                    }
                    sleep_until(due).await;
                    place(broker as &dyn Broker, &order).await
                });
                continue;
            }
            Some(placed) = pending.next() => placed,
        };
        tally.count(placed, &bar, json, ui)?;
        bar.inc(1);
        if !ui.watched && told.elapsed() > Duration::from_secs(5) {
            told = Instant::now();
            ui.note(format!("{} of {} orders", bar.position(), plan.count));
        }
    };
    bar.finish_and_clear();
    looks.tell(ui);
    ui.note(tally.sentence(plan, began.elapsed(), ui.tool));
    let Plan { prefix, count, .. } = plan;
    let again = format!(
        "the same call with `--prefix {prefix} --count {count}` places the rest, and finds what is \
         there"
    );
    if let Some(signal) = interrupted {
        ui.note(format!("interrupted; {again}"));
        return Ok(ExitCode::from(signal.code()));
    }
    if is_full {
        ui.note(format!("stopped, because {RESERVED}; then {again}"));
    } else if tally.failed > 0 {
        let more = match tally.failed.saturating_sub(TOLD) {
            0 => String::new(),
            more => format!("{more} more failed like these; "),
        };
        ui.note(format!("{more}once what failed is mended, {again}"));
    }
    Ok(if tally.failed == 0 && !is_full { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn bar(count: u32, ui: Ui) -> ProgressBar {
    let target =
        if ui.watched { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(Some(count.into()), target);
    let form = "{wide_bar} {pos}/{len} orders, {rate}{left}";
    let style = ProgressStyle::with_template(form).unwrap_or_else(|_| ProgressStyle::default_bar());
    let style = style.with_key("rate", |state: &ProgressState, text: &mut dyn Write| {
        // A text that takes nothing is none that anybody reads.
        let _ = write!(text, "{:.0}/s", state.per_sec());
    });
    bar.with_style(style.with_key("left", left))
}

/// `, 12s left`; nothing below a second, and while nothing is known.
pub(super) fn left(state: &ProgressState, text: &mut dyn Write) {
    if state.eta() >= Duration::from_secs(1) {
        let _ = write!(text, ", {:#} left", HumanDuration(state.eta()));
    }
}

/// `100 orders placed in 3.0 s (33/s)`; of less than a second there is no rate worth telling.
pub(super) fn placed_in(placed: u64, took: Duration) -> String {
    let seconds = took.as_secs_f64();
    let rate = placed as f64 / seconds.max(1e-9);
    let rate = match seconds {
        short if short < 1.0 => String::new(),
        _ if rate < 10.0 => format!(" ({rate:.1}/s)"),
        _ => format!(" ({rate:.0}/s)"),
    };
    let orders = if placed == 1 { "order" } else { "orders" };
    format!("{placed} {orders} placed in {}{rate}", duration(seconds * 1e3))
}

impl Tally {
    fn count(
        &mut self,
        placed: anyhow::Result<Receipt>,
        bar: &ProgressBar,
        json: bool,
        ui: Ui,
    ) -> anyhow::Result<()> {
        let receipt = match placed {
            Ok(receipt) => receipt,
            Err(error) => {
                self.failed += 1;
                if self.failed <= TOLD {
                    bar.suspend(|| ui.error(&error));
                }
                return Ok(());
            }
        };
        match receipt.placed {
            When::Now => self.placed += 1,
            When::Before => self.already_placed += 1,
            When::Unknown => self.unknown += 1,
        }
        let (low, high) = self.sequences.unwrap_or((u64::MAX, 0));
        self.sequences = Some((low.min(receipt.sequence), high.max(receipt.sequence)));
        if ui.read_by_a_person && !json {
            return Ok(());
        }
        bar.suspend(|| receipt.print(json))
    }

    fn sentence(&self, plan: &Plan, took: Duration, tool: &str) -> String {
        let mut text = placed_in(self.placed.into(), took);
        if self.already_placed > 0 {
            text.push_str(&format!(", {} were there already", self.already_placed));
        }
        if self.unknown > 0 {
            text.push_str(&format!(", {} now or before", self.unknown));
        }
        if self.failed > 0 {
            text.push_str(&format!(", {} FAILED", self.failed));
        }
        if let Some((low, high)) = self.sequences {
            text.push_str(&format!("; sequences {low} to {high}"));
        }
        let (prefix, count) = (&plan.prefix, plan.count);
        format!(
            "{text}\nids {prefix}-1 to {prefix}-{count}; see one with `{tool} trace {prefix}-1`"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_id_is_checked_before_anything_is_sent() {
        let plan =
            Plan { count: 1_000, gap: None, prefix: "p".repeat(60), is_new: true, in_flight: 1 };
        assert!(plan.id(100).is_ok());
        assert!(plan.id(1_000).is_err());
    }

    #[test]
    fn the_rate_is_of_what_was_placed_and_the_sequences_are_the_outermost() {
        let ui = Ui { read_by_a_person: true, ..Ui::new("quadrille", true) };
        let plan = Plan { count: 4, gap: None, prefix: "p".to_owned(), is_new: true, in_flight: 4 };
        let mut tally = Tally::default();
        for (sequence, placed) in [(7, When::Now), (3, When::Before), (9, When::Now)] {
            let receipt =
                Receipt { id: "p-1".to_owned(), sequence, placed, subject: String::new() };
            tally.count(Ok(receipt), &ProgressBar::hidden(), false, ui).unwrap();
        }
        let sentence = tally.sentence(&plan, Duration::from_secs(2), "quadrille");
        let wanted = "2 orders placed in 2.0 s (1.0/s), 1 were there already; sequences 3 to 9\n";
        assert!(sentence.starts_with(wanted), "{sentence}");
    }
}
