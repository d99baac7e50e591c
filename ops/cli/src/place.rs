//! `quadrille place`: puts orders into their `placed` slots.
//!
//! The slot is the proof: if an answer is lost, the command publishes the order again until the
//! slot says which order it holds. So placing an order twice is harmless.

mod order;
mod looks;
mod one;
mod many;
mod lines;
mod room;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::anyhow;
use clap::Args;
use quadrille::broker::Broker;
use quadrille::log::open::Opening;
use quadrille::nats::NatsBroker;
use quadrille_tool::Tool;
use quadrille_tool::connect::Connection;
use quadrille_tool::output::{self, Advise};
use schemas::order_fulfilment::FLOW;
use schemas::order_fulfilment::events::full_sample;

use lines::Lines;
use looks::Looks;
use many::{Many, Plan};
use room::Room;

pub(crate) use one::place;
pub(crate) use order::{Order, Sample, Template, random_text};

const EXAMPLES: &str = "\
Examples:
  quadrille place                                    the sample order, under a new id
  quadrille place --id A123 --sku ROSE-RED --quantity 12 --price 250
  quadrille place --id A126 --wait                   and say how it has ended
  quadrille place --id A124 --payment-method pm_card_chargeDeclined
  quadrille place --id A125 order.json               an order from a file, bare or as a CloudEvent
  jq .order big.json | quadrille place -             an order from stdin
  quadrille place --count 1000 --rate 200            load: ids load-…-1 to load-…-1000
  quadrille place --lines orders.jsonl --rejects rejects.jsonl    each line an order
  gunzip -c big.gz | quadrille place --lines - --prefix night-0412
  quadrille place --print-sample > order.json        an order to begin with
  quadrille place --json                             {\"id\",\"sequence\",\"placed\",\"subject\"}

Prints the id and the sequence under which the log has it. An order that is there already is a
success if its data are the same; otherwise it is an error, and the first order is kept.

--lines takes JSON lines, or one JSON array, each order bare or as a CloudEvent. Each gets a receipt
or an error with its line number and the JSON pointer of each mistake; a bad line stops none of the
others. An order's id is in it (order_id, or the event's subject); --prefix names those without one
by their line. So the same command may be run again: what is there already is found, not placed
twice. Only where the log takes no orders at all does it stop, and says behind which line.

Exit codes: 0 all are in the log, and the one that --wait awaits is completed; 1 some are not, or it
was cancelled or set aside, or has not ended; 2 wrong usage, or what is to be placed is no order, or
no JSON.";

/// Place an order, or many
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct PlaceArgs {
    /// An order as JSON, bare or as a CloudEvent; `-` reads it from stdin
    #[arg(value_name = "FILE", conflicts_with_all = ["lines", "sku", "quantity", "price",
        "currency", "customer", "payment_method", "country", "postcode"])]
    file: Option<PathBuf>,
    /// The order's id: 1 to 64 of A-Z a-z 0-9 _ -; without it, a new random one
    #[arg(long)]
    id: Option<String>,
    #[command(flatten)]
    sample: Sample,
    /// Print a whole order as JSON, with every field it may have, and place nothing
    #[arg(long)]
    print_sample: bool,
    #[command(flatten)]
    many: Many,
    #[command(flatten)]
    lines: Lines,
    /// Wait until the order has ended, for a minute at most, and say why if it did not complete
    #[arg(long, conflicts_with_all = ["lines", "count"])]
    wait: bool,
    /// Print JSON, one line for each order
    #[arg(long)]
    json: bool,
}

/// What to place, checked.
enum Wanted {
    One(Box<Order>),
    Many(Plan),
}

pub(crate) async fn run(args: &PlaceArgs, tool: &Tool) -> anyhow::Result<ExitCode> {
    if let Some(file) = &args.lines.lines {
        return lines::run(file, args, tool).await;
    }
    if args.print_sample {
        let sample = serde_json::to_string_pretty(&full_sample())?;
        output::data(&format!("{sample}\n"))?;
        return Ok(ExitCode::SUCCESS);
    }
    let (template, wanted) = match wanted(args) {
        Ok(wanted) => wanted,
        Err(error) => {
            tool.ui.error(&error);
            return Ok(ExitCode::from(2));
        }
    };
    let connection = tool.connect().await?;
    require_log(&connection).await?;
    match wanted {
        Wanted::Many(plan) => {
            many::run(&connection.broker, &template, &plan, args.json, tool.ui).await
        }
        Wanted::One(order) => {
            let looks = Looks::new(&connection.broker);
            if let [Some(spent)] = &*looks.spent(&[order.opening.slot.saga()]).await {
                tool.ui.error(&anyhow!("nothing was sent: {}", spent.what()));
                return Ok(ExitCode::FAILURE);
            }
            if !has_room(&connection.broker, &order).await {
                return Err(anyhow!("nothing was sent: {}", room::RESERVED));
            }
            let receipt = place(&connection.broker, &order).await?;
            receipt.print(args.json)?;
            looks.tell(tool.ui);
            if args.wait {
                let id = order.opening.slot.saga();
                return one::wait(&connection.broker, tool.flow, id, tool.ui).await;
            }
            let again = format!("follow it with `{} trace {}`", tool.ui.tool, receipt.id);
            tool.ui.note(tool.ui.on_stderr.paint(output::QUIET, again));
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Whether the log takes new orders; one that is in it already needs no room.
async fn has_room(broker: &NatsBroker, order: &Order) -> bool {
    let Opening { slot, payload, .. } = &order.opening;
    Room::default().takes(broker, payload.len() as u64).await
        || broker.last(FLOW.stream, slot.subject()).await.is_ok_and(|stored| stored.is_some())
}

/// What to place; a mistake in it is told before anything is sent.
fn wanted(args: &PlaceArgs) -> anyhow::Result<(order::Template, Wanted)> {
    let template = order::template(args.file.as_deref(), &args.sample)?;
    let wanted = match args.many.plan()? {
        Some(plan) => Wanted::Many(plan),
        None => Wanted::One(Box::new(template.order(args.id.as_deref())?)),
    };
    Ok((template, wanted))
}

/// One question before anything is sent, because without a log every order would wait for an answer
/// that never comes.
async fn require_log(connection: &Connection) -> anyhow::Result<()> {
    let url = &connection.url;
    let asked = connection.broker.inspect(&FLOW, FLOW.closing().worker).await;
    let log = asked.map_err(|error| {
        anyhow::Error::new(error)
            .context(format!("nothing was sent: {url} does not say whether it has a log"))
            .advise("is JetStream on there? Does the log have a leader? `nats stream info ORDERS`")
    })?;
    if log.incarnations.iter().any(|one| one.stream == FLOW.stream) {
        return Ok(());
    }
    Err(anyhow!(
        "nothing was sent: there is no log {} at {url}",
        connection.broker.names().stream(FLOW.stream)
    )
    .advise(
        "is it the right broker? If so, `quadrille topology plan` says what it lacks, and \
         `quadrille topology apply --profile PROFILE --write` makes it",
    ))
}
