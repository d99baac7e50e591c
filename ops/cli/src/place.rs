//! `quadrille place`: puts orders into their `placed` slots.
//!
//! The slot is the proof: an order whose answer was lost is published again until the slot tells
//! whose it is, so placing twice is harmless.

mod many;
mod order;

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::Args;
use quadrille::broker::{Broker, Published, Unknown};
use schemas::order_fulfilment::FLOW;
use serde::Serialize;
use tokio::time::{Instant, sleep};

use crate::args::Target;
use crate::connect::{Connection, connect};
use crate::output::{self, Advise, Ui};
pub(crate) use order::{Order, Sample, Template, random_text};

const EXAMPLES: &str = "\
Examples:
  quadrille place                                    the sample order, under a new id
  quadrille place --id A123 --sku ROSE-RED --quantity 12 --price 250 --currency EUR
  quadrille place --id A124 --payment-method pm_card_chargeDeclined
  quadrille place --id A125 order.json               an order from a file, bare or as a CloudEvent
  jq .order big.json | quadrille place -             an order from stdin
  quadrille place --count 1000 --rate 200            load: ids load-…-1 to load-…-1000
  quadrille place --json                             {\"id\",\"sequence\",\"placed\",\"subject\"}

Prints the id and the sequence under which the log has it. An order that is there already, with the
same data, is a success; with other data it is an error, and the first stands.";

/// Place an order, or many
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct PlaceArgs {
    /// An order as JSON, bare or as a CloudEvent; `-` reads it from stdin
    #[arg(value_name = "FILE", conflicts_with_all = ["sku", "quantity", "price", "currency",
        "customer", "payment_method", "country", "postcode"])]
    file: Option<PathBuf>,
    /// The order's id: 1 to 64 of A-Z a-z 0-9 _ -; without it a new one is drawn
    #[arg(long)]
    id: Option<String>,
    #[command(flatten)]
    sample: Sample,
    /// Place so many orders, with ids PREFIX-1, PREFIX-2, …
    #[arg(long, value_name = "N", conflicts_with = "id")]
    count: Option<NonZeroU32>,
    /// Orders a second; without it as fast as they are stored
    #[arg(long, value_name = "R", requires = "count")]
    rate: Option<f64>,
    /// What the ids of many orders begin with; without it a new one is drawn
    #[arg(long, requires = "count")]
    prefix: Option<String>,
    /// Orders whose answer may be awaited at once
    #[arg(long, value_name = "N", default_value = "64", requires = "count")]
    in_flight: NonZeroU32,
    /// Print JSON, one line an order
    #[arg(long)]
    json: bool,
}

/// An order that is in the log.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Receipt {
    pub(crate) id: String,
    pub(crate) sequence: u64,
    /// `now`; `before` where it was there already; `unknown` where an answer was lost, and an
    /// earlier call of the same event is not to be told from this one.
    pub(crate) placed: When,
    pub(crate) subject: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum When {
    Now,
    Before,
    Unknown,
}

/// How long a publish without an answer is repeated.
const PATIENCE: Duration = Duration::from_secs(15);

pub(crate) async fn run(args: &PlaceArgs, target: &Target, ui: Ui) -> anyhow::Result<ExitCode> {
    // All that can be wrong with the order is said before anything is sent.
    let template = order::template(args.file.as_deref(), &args.sample)?;
    let many = args.count.map(|count| many::Plan::new(args, count)).transpose()?;
    let one = match many {
        Some(_) => None,
        None => Some(template.order(args.id.as_deref())?),
    };
    let connection = connect(target, ui).await?;
    require_log(&connection).await?;
    match (many, one) {
        (Some(plan), _) => many::run(&connection.broker, &template, &plan, args.json, ui).await,
        (None, Some(order)) => {
            let receipt = place(&connection.broker, &order).await?;
            receipt.print(args.json)?;
            let again = format!("follow it with `quadrille trace {}`", receipt.id);
            ui.note(ui.on_stderr.paint(output::QUIET, again));
            Ok(ExitCode::SUCCESS)
        }
        (None, None) => Err(anyhow!("there is no order to place")),
    }
}

/// One question before anything is sent: without a log every order would wait for an answer that
/// nobody gives.
async fn require_log(connection: &Connection) -> anyhow::Result<()> {
    let url = &connection.url;
    let asked = connection.broker.inspect(&FLOW, FLOW.closing().worker).await;
    let log = asked.map_err(|error| {
        anyhow::Error::new(error)
            .context(format!("nothing was sent: {url} does not say whether it has a log"))
            .advise("is JetStream on there, and has the log a leader? `nats stream info ORDERS`")
    })?;
    if log.incarnations.iter().any(|one| one.stream == FLOW.stream) {
        return Ok(());
    }
    Err(anyhow!("nothing was sent: there is no log {} at {url}", FLOW.stream).advise(
        "is it the right broker? If so, `quadrille topology plan` says what it lacks, and \
         `quadrille topology apply --profile PROFILE --write` makes it",
    ))
}

impl Receipt {
    fn print(&self, json: bool) -> anyhow::Result<()> {
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
/// When the slot holds another order, the log is full, or nobody knows whether it was stored.
pub(crate) async fn place(broker: &dyn Broker, order: &Order) -> anyhow::Result<Receipt> {
    let subject = order.slot.subject();
    let receipt = |sequence, placed| Receipt {
        id: order.slot.saga().to_string(),
        sequence,
        placed,
        subject: subject.to_owned(),
    };
    let give_up = Instant::now() + PATIENCE;
    // A publish whose answer was lost may be the one that a later one collides with.
    let mut unanswered = false;
    loop {
        let why = match broker.publish_once(&order.slot, order.payload.clone()).await {
            Published::Stored { sequence } => return Ok(receipt(sequence, When::Now)),
            Published::Conflict => match broker.last(FLOW.stream, subject).await {
                Ok(Some(stored)) if order.is_what_is_stored(&stored) => {
                    let placed = if unanswered { order.whose(&stored) } else { When::Before };
                    return Ok(receipt(stored.sequence, placed));
                }
                Ok(Some(stored)) => return Err(taken(order, stored.sequence)),
                Ok(None) => "the slot is taken, and reads as empty".to_owned(),
                Err(error) => error.to_string(),
            },
            Published::Unknown(Unknown::Busy) => "the broker is busy".to_owned(),
            Published::Unknown(Unknown::Full) => {
                let full = anyhow!("{subject} was not stored: the log is full");
                return Err(full.advise(format!(
                    "raise the size of {}: `quadrille topology apply --max-bytes SIZE --write`, \
                     with the --nats, --creds or --context of this broker; all else is kept",
                    FLOW.stream
                )));
            }
            Published::Unknown(Unknown::NoAnswer(why)) => {
                unanswered = true;
                why
            }
            Published::TooLarge => return Err(anyhow!("{subject}: the event is over 64 KB")),
            Published::Rejected { code, description } => {
                return Err(anyhow!("the broker refuses {subject} ({code}): {description}"));
            }
        };
        if Instant::now() >= give_up {
            let unknown = anyhow!("nobody knows whether {subject} was stored: {why}");
            let id = order.slot.saga();
            return Err(
                unknown.advise(format!("place it again under the same id, {id}: that is safe"))
            );
        }
        sleep(Duration::from_millis(fastrand::u64(20..200))).await;
    }
}

fn taken(order: &Order, sequence: u64) -> anyhow::Error {
    let id = order.slot.saga();
    anyhow!("order {id} is already placed, with other data (sequence {sequence}); the first stands")
        .advise(format!("see it with `quadrille trace {id}`, or take another id"))
}

/// The whole text of a file, or of stdin for `-`.
fn read_input(file: &std::path::Path) -> anyhow::Result<String> {
    let bytes = if file.as_os_str() == "-" {
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut std::io::stdin().lock(), &mut bytes)?;
        bytes
    } else {
        std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?
    };
    String::from_utf8(bytes).map_err(|_| anyhow!("{} is not UTF-8", file.display()))
}
