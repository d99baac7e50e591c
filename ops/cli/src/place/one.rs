//! One order, put into its slot, and the words for what came of it.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::anyhow;
use quadrille::broker::Broker;
use quadrille::log::open::{self, Opened, When};
use quadrille::log::story::Phase;
use quadrille::nats::NatsBroker;
use quadrille::{Flow, SagaId};
use quadrille_tool::output::{self, Advise, Ui};
use quadrille_tool::{trace, wait};
use schemas::order_fulfilment::FLOW;
use serde::{Serialize, Serializer};

use super::order::Order;

/// How long a publish without an answer is repeated.
const PATIENCE: Duration = Duration::from_secs(15);

/// An order that is in the log.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Receipt {
    pub(crate) id: String,
    pub(crate) sequence: u64,
    /// `now`; `before` where it was there already; `unknown` where an answer was lost, so that the
    /// command cannot say whether this call stored the event or an earlier one did.
    #[serde(serialize_with = "in_a_word")]
    pub(crate) placed: When,
    pub(crate) subject: String,
}

fn in_a_word<S: Serializer>(when: &When, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(match when {
        When::Now => "now",
        When::Before => "before",
        When::Unknown => "unknown",
    })
}

impl Receipt {
    pub(crate) fn print(&self, json: bool) -> anyhow::Result<()> {
        if json {
            return output::json(self);
        }
        let when = match self.placed {
            When::Now => "",
            When::Before => "  (already placed)",
            When::Unknown => "  (placed now or before: an answer was lost)",
        };
        output::data(&format!("{}  sequence {}{when}\n", self.id, self.sequence))
    }
}

/// Places one order; safe to repeat.
///
/// # Errors
/// When the slot holds another order, the log is full, or no answer says whether it was stored.
pub(crate) async fn place(broker: &dyn Broker, order: &Order) -> anyhow::Result<Receipt> {
    put(broker, order).await.map_err(|error| explain(order, error))
}

/// How often an order that is awaited is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// Waits until a saga has ended, and says how, and why if it is not completed; the exit code tells
/// whether it is.
///
/// # Errors
/// When the broker does not answer.
pub(super) async fn wait(
    broker: &NatsBroker,
    flow: &'static Flow,
    id: &SagaId,
    ui: Ui,
) -> anyhow::Result<ExitCode> {
    let mut waiting = wait::Waits::begin(ui);
    let ended = wait::until(LOOK, async || {
        let state = trace::read(broker, flow, id).await?.state;
        let worker =
            state.waits_for.as_ref().map(|waits| format!("{id}: waits for {}", waits.worker));
        waiting.tell(worker.unwrap_or_default());
        Ok(match state.phase {
            Phase::Completed => Some("completed"),
            Phase::Cancelled => Some("cancelled"),
            Phase::Parked => Some("was set aside"),
            Phase::Open | Phase::Cancelling | Phase::Unknown => None,
        })
    });
    let became = ended.await?.unwrap_or("has not ended");
    let is_completed = became == "completed";
    wait::tell(broker, flow, id, (became, is_completed), waiting.lasts(), ui).await?;
    Ok(if is_completed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// As [`place`], with the bare error.
pub(super) async fn put(broker: &dyn Broker, order: &Order) -> Result<Receipt, open::Error> {
    let same = |stored: &_| order.is_what_is_stored(stored);
    let opened = open::open(broker, &FLOW, &order.opening, same, PATIENCE).await;
    let Opened { sequence, when } = opened?;
    let slot = &order.opening.slot;
    let (id, subject) = (slot.saga().to_string(), broker.shown(slot.subject()));
    Ok(Receipt { id, sequence, placed: when, subject })
}

fn explain(order: &Order, error: open::Error) -> anyhow::Error {
    let (id, subject) = (order.opening.slot.saga(), order.opening.slot.subject());
    match error {
        open::Error::Taken { sequence } => anyhow!(
            "order {id} is already placed, with other data (sequence {sequence}); that one is kept"
        )
        .advise(format!("see it with `quadrille trace {id}`, or take another id")),
        open::Error::Full => anyhow!("{subject} was not stored: the log is full").advise(format!(
            "raise the size of {}: `quadrille topology apply --max-bytes SIZE --write`, \
                 with the --nats, --creds or --context of this broker; everything else is kept",
            FLOW.stream
        )),
        open::Error::NoAnswer(why) => anyhow!("no answer says whether {subject} was stored: {why}")
            .advise(format!("place it again under the same id, {id}: that is safe")),
        open::Error::TooLarge => anyhow!("{subject}: the event is over 64 KB"),
        open::Error::Rejected { code, description } => {
            anyhow!("the broker refuses {subject} ({code}): {description}")
        }
    }
}
