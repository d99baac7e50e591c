//! The newcomer's four orders, and a check that each ended as documented: events, money, parcels
//! and stock. The fourth sits out an outage.

mod outage;

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, anyhow};
use quadrille::SagaId;
use quadrille::broker::Broker;
use quadrille::http::Client;
use quadrille::log::story::Story;
use quadrille::nats::NatsBroker;
use quadrille_tool::output::{self, BAD, GOOD, STRONG, Ui};
use quadrille_tool::trace;
use schemas::Sku;
use schemas::order_fulfilment::FLOW;
use schemas::stock::Shown;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep};

use super::stack::Running;
use crate::place::{Order, Sample, Template, place, random_text};
use crate::stock;

/// The first three orders together take about a tenth of a second on an idle machine; the fourth,
/// six to eight seconds.
const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);

/// A demo order, and how it is documented to end.
struct Scene {
    name: &'static str,
    title: &'static str,
    sample: Sample,
    /// The types of its events, in any order.
    events: &'static [&'static str],
    /// Pieces it still holds, and whether it paid and got its label.
    ends: Ends,
}

/// Which orders there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Orders {
    /// So that the stock can be checked.
    OnlyOurs,
    OthersToo,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ends {
    Completed,
    Cancelled,
}

/// The types of a completed order's events.
const COMPLETED: &[&str] = &[
    "order.placed.v1",
    "inventory.reserved.v1",
    "payment.charged.v1",
    "order.go.v1",
    "shipment.dispatched.v1",
    "order.completed.v1",
];

/// An order that was placed, and how it must end.
type Placed = (Scene, SagaId);

/// What the demo is played with.
struct Demo<'a> {
    broker: &'a NatsBroker,
    sandbox: Client,
    /// In the ids of its orders, so that they are new in a kept folder.
    run: String,
    json: bool,
    ui: Ui,
}

fn scenes() -> [Scene; 3] {
    [
        Scene {
            name: "completes",
            title: "It completes: stock held, customer charged, parcel sent.",
            sample: Sample::default(),
            events: COMPLETED,
            ends: Ends::Completed,
        },
        Scene {
            name: "declined",
            title: "The gateway declines the payment: the stock is released.",
            sample: Sample {
                payment_method: "pm_card_chargeDeclinedInsufficientFunds".into(),
                ..Sample::default()
            },
            events: &[
                "order.placed.v1",
                "inventory.reserved.v1",
                "payment.refused.v1",
                "order.refused.v1",
                "payment.voided.v1",
                "inventory.released.v1",
                "order.cancelled.v1",
            ],
            ends: Ends::Cancelled,
        },
        Scene {
            name: "undeliverable",
            title: "The carrier refuses the address: payment refunded, stock released.",
            sample: Sample { postcode: "00000".into(), ..Sample::default() },
            events: &[
                "order.placed.v1",
                "inventory.reserved.v1",
                "payment.charged.v1",
                "order.go.v1",
                "shipment.refused.v1",
                "order.refused.v1",
                "payment.refunded.v1",
                "inventory.released.v1",
                "order.cancelled.v1",
            ],
            ends: Ends::Cancelled,
        },
    ]
}

/// Places the orders, waits for their ends, tells their stories and checks them.
pub(super) async fn play(
    running: &Running,
    placed: Orders,
    json: bool,
    ui: Ui,
) -> anyhow::Result<ExitCode> {
    let Running { broker, addresses } = running;
    let sandbox = Client::new(&addresses.sandbox, None, Duration::from_secs(5))?;
    let demo = Demo { broker, sandbox, run: random_text(4), json, ui };
    let sku = Sku::parse(&Sample::default().sku)?;
    let before = level(broker, &sku).await?;
    let mut orders = Vec::new();
    for scene in scenes() {
        let name = scene.name.to_owned();
        orders.push(demo.place(scene, &name).await?);
    }
    let now = wait_for_ends(broker, orders.iter().map(|(_, saga)| saga)).await?;
    for order in &orders {
        demo.tell(order, now).await?;
    }
    let (waited, mut differs) = outage::play(&demo).await?;
    demo.tell(&waited[0], trace::server_time(broker, &FLOW).await?).await?;
    orders.extend(waited);
    for (scene, saga) in &orders {
        let story = trace::read(broker, &FLOW, saga).await?;
        differs.extend(check_events(scene, &story));
        differs.extend(check_outside(scene, saga, &demo.sandbox).await?);
    }
    if placed == Orders::OnlyOurs {
        let after = level(broker, &sku).await?;
        differs.extend(check_stock(&orders, &before, &after));
    }
    Ok(conclude(&differs, placed, ui))
}

impl Demo<'_> {
    async fn place(&self, scene: Scene, name: &str) -> anyhow::Result<Placed> {
        let saga = SagaId::parse(&format!("demo-{}-{name}", self.run))?;
        let data = quadrille::Event::to_data(&scene.sample.placed()?);
        let order = Order::new(&Template::Bare(data), &saga)?;
        place(self.broker, &order).await?;
        Ok((scene, saga))
    }

    /// Prints the story of an order, as it is at `now`.
    async fn tell(&self, (scene, saga): &Placed, now: jiff::Timestamp) -> anyhow::Result<()> {
        let story = trace::read(self.broker, &FLOW, saga).await?;
        if self.json {
            return output::json(&story);
        }
        let paint = self.ui.on_stdout;
        let title = paint.paint(STRONG, scene.title);
        let story = trace::render(&FLOW, &story, now, paint, self.ui.width);
        output::data(&format!("{title}\n{story}\n"))
    }
}

fn conclude(differs: &[String], placed: Orders, ui: Ui) -> ExitCode {
    if differs.is_empty() {
        let what = match placed {
            Orders::OnlyOurs => "money, parcels and stock",
            Orders::OthersToo => "money and parcels",
        };
        let text = format!("All four ended as documented: events, {what}.");
        ui.note(ui.on_stderr.paint(GOOD, text));
        return ExitCode::SUCCESS;
    }
    ui.note(ui.on_stderr.paint(BAD, "Not all ended as documented:"));
    differs.iter().for_each(|line| ui.note(format!("  {line}")));
    ExitCode::FAILURE
}

/// Returns the broker's time once all have ended, or after [`PATIENCE`].
async fn wait_for_ends(
    broker: &NatsBroker,
    orders: impl Iterator<Item = &SagaId>,
) -> anyhow::Result<jiff::Timestamp> {
    let closed = FLOW.closing().slot;
    let slots: Vec<_> = orders.map(|saga| FLOW.slot(closed, saga).subject().to_owned()).collect();
    let give_up = Instant::now() + PATIENCE;
    while broker.last_of_many(FLOW.stream, slots.clone()).await?.len() < slots.len()
        && Instant::now() < give_up
    {
        sleep(POLL).await;
    }
    trace::server_time(broker, &FLOW).await
}

fn check_events(scene: &Scene, story: &Story) -> Vec<String> {
    let seen: BTreeSet<_> = story.events.iter().map(|line| line.event_type.as_str()).collect();
    let wanted: BTreeSet<_> = scene.events.iter().copied().collect();
    let missing = wanted.difference(&seen).map(|event| format!("{}: no {event}", story.id));
    // Events of steps that the demo does not know are not checked.
    let known: BTreeSet<_> = scenes().iter().flat_map(|scene| scene.events).copied().collect();
    let extra = seen.difference(&wanted).filter(|event| known.contains(*event));
    let extra = extra.map(|event| format!("{}: {event}, which must not be there", story.id));
    missing.chain(extra).collect()
}

/// The sandbox's ledger is the truth about money and parcels.
async fn check_outside(
    scene: &Scene,
    saga: &SagaId,
    sandbox: &Client,
) -> anyhow::Result<Vec<String>> {
    #[derive(Deserialize)]
    struct Balance {
        balance: i64,
    }
    let Balance { balance } = ask(sandbox, &format!("/balance?order={saga}")).await?;
    let labels: Vec<serde::de::IgnoredAny> =
        ask(sandbox, &format!("/ledger?order={saga}&effect=label-bought")).await?;
    let total = scene.sample.placed()?.total()?.amount;
    let (wanted_balance, wanted_labels) = match scene.ends {
        Ends::Completed => (total, 1),
        Ends::Cancelled => (0, 0),
    };
    let mut differs = Vec::new();
    if balance != wanted_balance {
        differs.push(format!("{saga}: the gateway holds {balance}, not {wanted_balance}"));
    }
    if labels.len() != wanted_labels {
        differs.push(format!("{saga}: {} labels were bought, not {wanted_labels}", labels.len()));
    }
    Ok(differs)
}

async fn ask<T: DeserializeOwned>(sandbox: &Client, path: &str) -> anyhow::Result<T> {
    let answer = sandbox.get(path, Instant::now() + Duration::from_secs(5)).await?;
    answer.json().with_context(|| format!("the sandbox's answer to {path}"))
}

async fn level(broker: &NatsBroker, sku: &Sku) -> anyhow::Result<Shown> {
    let shown = stock::show(broker, std::slice::from_ref(sku)).await?;
    shown.into_iter().next().ok_or_else(|| anyhow!("{sku} was never stocked"))
}

/// Valid only where no other order runs, because one in a kept folder moves the same pieces.
fn check_stock(orders: &[Placed], before: &Shown, after: &Shown) -> Option<String> {
    // Not by what is held: the pieces of a completed order leave the shelf some time later.
    let sold = i128::from(before.free) - i128::from(after.free);
    let wanted: i128 = orders
        .iter()
        .filter(|(scene, _)| scene.ends == Ends::Completed)
        .map(|(scene, _)| i128::from(scene.sample.quantity))
        .sum();
    (sold != wanted).then(|| format!("{}: {sold} fewer pieces are free, not {wanted}", after.sku))
}
