//! The stack that a replay has for itself: where orders are placed again, and what came of them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, bail};
use quadrille::broker::{Broker, Care, Published};
use quadrille::nats::NatsBroker;
use quadrille::{Event, SagaId};
use quadrille_tool::output::Ui;
use schemas::Sku;
use schemas::order_fulfilment::FLOW;
use schemas::order_fulfilment::events::OrderPlaced;
use schemas::stock::{Item, MOST_SKUS, PREFIX, SET, Set};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::tale::{Missing, Tale, Told};
use crate::dev::{Isolated, ServerArgs};

/// Pieces on a shelf that is not to be empty.
const PLENTY: u64 = 1_000_000_000_000;

/// Cards and a postcode by which the sandbox answers as it is told.
const GOOD_CARD: &str = "pm_card_visa";
const DECLINED: [(&str, &str); 5] = [
    ("generic_decline", DECLINES),
    ("insufficient_funds", "pm_card_chargeDeclinedInsufficientFunds"),
    ("lost_card", "pm_card_chargeDeclinedLostCard"),
    ("expired_card", "pm_card_chargeDeclinedExpiredCard"),
    ("authentication_required", "pm_card_authenticationRequired"),
];
/// For whatever else a gateway gives as its reason.
const DECLINES: &str = "pm_card_chargeDeclined";
/// By which the sandbox's carrier refuses a destination.
const NOT_SERVED: &str = "destination_refused";
const REFUSED_POSTCODE: &str = "00000";
const GOOD_POSTCODE: &str = "10115";

/// Without any event for so long, what is still open will not end.
const SILENCE: Duration = Duration::from_secs(20);

/// Each look costs the broker a read, and the workers that are replayed need the machine.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How fast orders are placed again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Pace(Option<f64>);

impl Pace {
    pub(super) const AT_ONCE: Self = Self(None);

    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let number = text.strip_suffix('x').unwrap_or(text).parse::<f64>();
        match number {
            Ok(speed) if speed.is_finite() && speed > 0.0 => Ok(Self(Some(speed))),
            _ => Err("expected a number above zero, such as 1, 0.5 or 10x".to_owned()),
        }
    }

    /// When an order is due that was placed this long after the first one.
    pub(super) fn due(self, after: Duration) -> Duration {
        self.0.map_or(Duration::ZERO, |speed| after.div_f64(speed))
    }
}

/// The stack, and what its log has so far.
pub(super) struct Stage {
    isolated: Isolated,
    /// The next sequence to read.
    next: u64,
    /// By order, then by slot.
    pub(super) told: BTreeMap<SagaId, BTreeMap<String, Told>>,
    /// Closed, or set aside.
    ended: BTreeSet<SagaId>,
    parked: u64,
}

impl Stage {
    pub(super) async fn open(ui: Ui) -> anyhow::Result<Self> {
        let isolated = Isolated::open(ui).await?;
        let (told, ended) = Default::default();
        Ok(Self { isolated, next: 1, told, ended, parked: 0 })
    }

    /// Starts broker, sandbox and workers.
    pub(super) async fn start(&mut self, server: &ServerArgs) -> anyhow::Result<()> {
        self.isolated.start(server).await
    }

    pub(super) async fn end(self) {
        self.isolated.end().await;
    }

    fn broker(&self) -> anyhow::Result<&NatsBroker> {
        self.isolated.broker()
    }

    /// Puts plenty on every shelf of these but one, which is left as empty as it may be.
    pub(super) async fn stock(
        &self,
        skus: &BTreeSet<String>,
        missing: Option<(&str, Missing)>,
    ) -> anyhow::Result<()> {
        let item = |sku: &String| {
            let stocked = match missing {
                Some((empty, Missing::Unknown)) if empty == sku => return None,
                Some((empty, Missing::Empty)) if empty == sku => 0,
                _ => PLENTY,
            };
            Some(Item { sku: Sku::parse(sku).ok()?, stocked })
        };
        let mut items: Vec<_> = skus.iter().filter_map(item).collect();
        while !items.is_empty() {
            let rest = items.split_off(items.len().min(MOST_SKUS));
            let question = serde_json::to_vec(&Set::Many { items })?;
            let (subject, give_up) = (format!("{PREFIX}.{SET}"), Instant::now() + SILENCE);
            loop {
                match self.broker()?.request(&subject, question.clone().into()).await? {
                    Ok(_) => break,
                    // What the orders before these held is still being taken off.
                    Err(error) if error.code >= 500 && Instant::now() < give_up => {
                        sleep(LOOK_EVERY).await;
                    }
                    Err(error) => bail!("the shelves cannot be filled: {}", error.message),
                }
            }
            items = rest;
        }
        Ok(())
    }

    /// Places an order again, in a way that lets the sandbox answer as the log says.
    pub(super) async fn place(&self, tale: &Tale) -> anyhow::Result<()> {
        let slot = FLOW.slot(FLOW.opens.slot, &tale.id);
        let payload = payload(tale);
        match self.broker()?.publish(slot.subject(), payload.into()).await {
            Published::Stored { .. } => Ok(()),
            other => bail!("order {} cannot be placed again: {other:?}", tale.id),
        }
    }

    /// Reads what happened until all of these orders ended, or nothing happens any more; tells each
    /// time how many have ended, those before them included.
    pub(super) async fn until_ended(
        &mut self,
        orders: &[SagaId],
        mut ended: impl FnMut(usize),
    ) -> anyhow::Result<()> {
        let (mut heard, mut open) = (Instant::now(), orders.iter().peekable());
        loop {
            if self.read_on().await? {
                heard = Instant::now();
            }
            ended(self.ended.len());
            while open.next_if(|id| self.ended.contains(id)).is_some() {}
            if open.peek().is_none() || heard.elapsed() > SILENCE {
                return Ok(());
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Whether there was anything new.
    pub(super) async fn read_on(&mut self) -> anyhow::Result<bool> {
        let mut new = false;
        loop {
            let page = self.broker()?.read_page(FLOW.stream, self.next, 512, Care::Fast).await;
            let messages = page.context("the replay's own log")?.messages;
            let Some(last) = messages.last() else { break };
            (self.next, new) = (last.sequence + 1, true);
            for message in &messages {
                let Some((slot, saga)) = FLOW.parse_subject(&message.subject) else { continue };
                if slot == FLOW.closing().slot {
                    self.ended.insert(saga.clone());
                }
                if slot != FLOW.opens.slot {
                    let told = self.told.entry(saga).or_default();
                    told.insert(slot.to_owned(), Told::of(message));
                }
            }
        }
        if !new {
            self.look_for_parked().await?;
        }
        Ok(new)
    }

    /// An order whose message was set aside does not go on.
    async fn look_for_parked(&mut self) -> anyhow::Result<()> {
        let stream = quadrille::topology::parked_stream_name(&FLOW);
        let page = self.broker()?.read_page(&stream, self.parked + 1, 512, Care::Fast).await?;
        for message in page.messages {
            let id = message.subject.rsplit('.').next().unwrap_or_default();
            self.parked = message.sequence;
            self.ended.extend(SagaId::parse(id).ok());
        }
        Ok(())
    }
}

/// The order as it was placed; where the sandbox would answer otherwise, with another card or
/// postcode. An order that cannot be read is placed as it was.
fn payload(tale: &Tale) -> Vec<u8> {
    let as_it_was = || tale.placed.payload.to_vec();
    let Ok(mut document) = serde_json::from_slice::<Value>(&tale.placed.payload) else {
        return as_it_was();
    };
    let enveloped = document.get("specversion").is_some();
    let data = if enveloped { &mut document["data"] } else { &mut document };
    if OrderPlaced::from_data(FLOW.opens.event, &data.to_string()).is_err() {
        return as_it_was();
    }
    let changes = [card(tale, data), postcode(tale, data)];
    let mut changed = false;
    for (pointer, value) in changes.into_iter().flatten() {
        if let Some(field) = data.pointer_mut(pointer) {
            *field = value.into();
            changed = true;
        }
    }
    if changed { document.to_string().into_bytes() } else { as_it_was() }
}

type Change = Option<(&'static str, &'static str)>;

fn card(tale: &Tale, data: &Value) -> Change {
    let card = data["payment_method"].as_str().unwrap_or_default();
    let wanted = match tale.event("payment", "payment.refused.v1") {
        Some(refused) => {
            let known = DECLINED.iter().find(|(reason, _)| *reason == refused.reason());
            known.map_or(DECLINES, |(_, card)| card)
        }
        None if sandbox_accepts(card) => card_of(card),
        None => GOOD_CARD,
    };
    (card != wanted).then_some(("/payment_method", wanted))
}

/// Whether the sandbox's services refuse for this very reason when they are to; otherwise they
/// refuse for one of theirs.
pub(super) fn has_reason(reason: &str) -> bool {
    reason == NOT_SERVED || DECLINED.iter().any(|(known, _)| *known == reason)
}

fn sandbox_accepts(card: &str) -> bool {
    ACCEPTED.contains(&card)
}

fn card_of(card: &str) -> &'static str {
    ACCEPTED.into_iter().find(|known| *known == card).unwrap_or(GOOD_CARD)
}

/// Cards that pay at the sandbox.
const ACCEPTED: [&str; 3] = ["pm_card_visa", "pm_card_mastercard", "pm_card_amex"];

fn postcode(tale: &Tale, data: &Value) -> Change {
    let (country, postcode) = (&data["ship_to"]["country"], &data["ship_to"]["postcode"]);
    let refuses = country == "AQ" || postcode == REFUSED_POSTCODE;
    let refused = tale.event("shipment", "shipment.refused.v1").is_some();
    match (refused, refuses) {
        (true, false) => Some(("/ship_to/postcode", REFUSED_POSTCODE)),
        (false, true) if tale.event("shipment", "shipment.dispatched.v1").is_some() => {
            Some(("/ship_to/postcode", GOOD_POSTCODE))
        }
        _ => None,
    }
}
