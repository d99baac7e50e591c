//! The fourth demo order: the payment gateway is away when it is placed, and comes back.
//!
//! One order without an answer may be that order's own fault, so the breaker pauses nothing for it;
//! the others are placed beside it until there are as many as the breaker wants to see. All
//! settings are the defaults. The fault is in the sandbox's memory only, so that it ends with the
//! sandbox, and the pause ends by itself: an interrupted demo leaves neither.

use std::time::Duration;

use anyhow::{anyhow, bail};
use jiff::Timestamp;
use quadrille::SagaId;
use quadrille::broker::{Broker, Pause};
use quadrille::config::BreakerSettings;
use quadrille::http::{Body, Client};
use quadrille_tool::output::{self, QUIET, STRONG, WAITS, duration};
use quadrille_tool::trace;
use schemas::order_fulfilment::FLOW;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{Demo, Ends, PATIENCE, POLL, Placed, Scene};
use crate::place::Sample;

/// The durable that waits for the gateway.
const DURABLE: &str = "charge-customer";

/// The pause, as the server told it.
struct Seen {
    until: Timestamp,
    at: Timestamp,
}

fn scene() -> Scene {
    Scene {
        name: "outage",
        title: "The payment gateway was away: the fleet paused, and then charged it once.",
        sample: Sample::default(),
        events: super::COMPLETED,
        ends: Ends::Completed,
    }
}

/// Places the order and the others, waits for the pause, ends the outage and waits for their ends.
/// Returns all of them, the order first, and what was not as documented.
pub(super) async fn play(demo: &Demo<'_>) -> anyhow::Result<(Vec<Placed>, Vec<String>)> {
    let ui = demo.ui;
    let least = BreakerSettings::default().run;
    let away = "the payment gateway goes away, and";
    let why = "because fewer might be the orders' own fault";
    let note = format!("{away} {least} orders are placed, {why}");
    ui.note(ui.on_stderr.paint(QUIET, note));
    set_faults(&demo.sandbox, &json!({ "error_rate": 1 })).await?;
    let waited = wait_for_pause(demo, least).await;
    // Whatever was seen, the gateway comes back.
    set_faults(&demo.sandbox, &json!({})).await?;
    let (orders, seen) = waited?;
    let back =
        "the gateway is back; the pause runs out, two single calls test it, and all begin again";
    ui.note(ui.on_stderr.paint(QUIET, back));
    super::wait_for_ends(demo.broker, orders.iter().map(|(_, saga)| saga)).await?;
    let mut differs = Vec::new();
    for (_, saga) in &orders {
        differs.extend(check_charge(demo, saga, &seen).await?);
    }
    Ok((orders, differs))
}

/// Places the orders and shows the pause, which the server must tell.
async fn wait_for_pause(demo: &Demo<'_>, orders: u32) -> anyhow::Result<(Vec<Placed>, Seen)> {
    let mut placed = Vec::new();
    for number in 1..=orders {
        let scene = scene();
        let name =
            if number == 1 { scene.name.to_owned() } else { format!("{}-{number}", scene.name) };
        placed.push(demo.place(scene, &name).await?);
    }
    let give_up = Instant::now() + PATIENCE;
    let (until, remaining) = loop {
        match demo.broker.paused(FLOW.stream, DURABLE).await? {
            Pause::On { until, remaining } => break (until, remaining),
            Pause::Off if Instant::now() >= give_up => {
                bail!("{DURABLE} is not paused on the server after {PATIENCE:?}");
            }
            Pause::Off => sleep(POLL).await,
        }
    };
    let at = trace::server_time(demo.broker, &FLOW).await?;
    show(demo, &placed[0].1, Seen { until, at }, remaining).await.map(|seen| (placed, seen))
}

/// Prints what the server says of the durable, as the stock client prints it, and the order's story
/// so far.
async fn show(
    demo: &Demo<'_>,
    order: &SagaId,
    seen: Seen,
    remaining: Duration,
) -> anyhow::Result<Seen> {
    let (stream, Seen { until, at }) = (demo.broker.names().stream(FLOW.stream), &seen);
    let story = trace::read(demo.broker, &FLOW, order).await?;
    if demo.json {
        let remaining_ms = u64::try_from(remaining.as_millis())?;
        let paused = json!({ "stream": stream, "durable": DURABLE, "until": until,
            "remaining_ms": remaining_ms });
        output::json(&json!({ "paused": paused }))?;
        return Ok(seen);
    }
    let paint = demo.ui.on_stdout;
    let title = paint.paint(STRONG, "The payment gateway is away: the fleet pauses.");
    let remaining = duration(remaining.as_secs_f64() * 1e3);
    let until = until.strftime("%Y-%m-%d %H:%M:%S%.3f UTC");
    let line =
        paint.paint(WAITS, format!("Paused Until Deadline: {until} ({remaining} remaining)"));
    let command = format!("nats consumer info {stream} {DURABLE}");
    let asked = paint.paint(QUIET, format!("$ {command}    # what the server answers"));
    let story = trace::render(&FLOW, &story, *at, paint, demo.ui.width);
    output::data(&format!("{title}\n{story}{asked}\n{line}\n\n"))?;
    Ok(seen)
}

/// It was charged once, and not before the pause.
async fn check_charge(demo: &Demo<'_>, saga: &SagaId, seen: &Seen) -> anyhow::Result<Vec<String>> {
    let mut differs = Vec::new();
    let captured: Vec<Value> =
        super::ask(&demo.sandbox, &format!("/ledger?order={saga}&effect=captured")).await?;
    if captured.len() != 1 {
        differs
            .push(format!("{saga}: the customer was charged {} times, not once", captured.len()));
    }
    let slot = FLOW.slot("payment", saga);
    let charged = demo.broker.last(FLOW.stream, slot.subject()).await?;
    let charged = charged.ok_or_else(|| anyhow!("{saga}: there is no payment in the log"))?;
    if charged.stored_at < seen.at {
        differs.push(format!("{saga}: charged at {}, before the pause", charged.stored_at));
    }
    Ok(differs)
}

async fn set_faults(sandbox: &Client, faults: &Value) -> anyhow::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(5);
    let answer = sandbox.put("/faults/payment", &Body::Json(faults.clone()), deadline).await?;
    if answer.status.as_u16() != 200 {
        bail!("the sandbox answers {} to its faults", answer.status);
    }
    Ok(())
}
