//! `quadrille stock`: asks the inventory worker, the only process that writes stock.

use std::process::ExitCode;

use anyhow::{Context, anyhow};
use clap::Subcommand;
use quadrille::broker::Broker;
use quadrille::nats::NatsBroker;
use quadrille_tool::Tool;
use quadrille_tool::output::{self, Advise};
use schemas::Sku;
use schemas::stock::{
    self, Count, Counted, Delist, Item, Receive, Received, Set, Show, Shown, State,
};
use serde::Serialize;
use serde_json::to_value;

use crate::place::random_text;

const EXAMPLES: &str = "\
Examples:
  quadrille stock show
  quadrille stock receive ROSE-RED=1000 VASE-GLASS=500     a delivery came in
  quadrille stock count ROSE-RED=998@1000-48213            998 lay there at the state that show said
  quadrille stock delist ROSE-RED                          sell no more of it

All but show change the stock at once, as `place` places an order: there is no --write.";

const RECEIVE: &str = "\
Examples:
  quadrille stock receive ROSE-RED=1000 VASE-GLASS=500
  quadrille stock receive --receipt delivery-4711 ROSE-RED=1000

Adds the pieces. If the answer is lost, repeat the command with the receipt that it printed: one
receipt is added once, and the command says so if it was added before.";

const DELIST: &str = "\
Examples:
  quadrille stock delist ROSE-RED VASE-GLASS

Nothing more of it is sold. What orders hold stays for them until they are completed; what a
cancelled one held does not come back on sale. `stock receive` or `stock count` ends that.";

const SHOW: &str = "\
Examples:
  quadrille stock show
  quadrille stock show ROSE-RED VASE-GLASS
  quadrille stock show --json | jq '.[].free'

stocked = free + held: what lies on the shelf. held are the pieces of orders that are neither
cancelled nor completed; those of completed orders leave the shelf within seconds. state is for
`stock count`. Numbers come from the inventory worker, which reads them from its own stream.";

const COUNT: &str = "\
Examples:
  quadrille stock show ROSE-RED                            prints the state, such as 1000-48213
  quadrille stock count ROSE-RED=998@1000-48213            998 lay there at that moment
  quadrille stock count ROSE-RED=998@1000-48213 VASE-GLASS=500@501-0 --json

Count what lay on the shelf when `stock show` printed the state: pieces for sale, and pieces that
orders held then, packed or not. A piece is on the shelf until its order is completed, which is when
its parcel is booked: an order that is paid but not completed counts. What belongs to a completed
order does not count, even where the parcel still lies there. What you take off the shelf while you
count does.

Orders go on meanwhile: what they complete after the state is taken off what you counted. A count
is refused if the SKU was set, counted, received or delisted after its state, so one that is
repeated because its answer was lost changes nothing.";

const SET: &str = "\
Examples:
  quadrille stock set ROSE-RED=1000
  quadrille stock set ROSE-RED=1000 VASE-GLASS=500 --json

Sets what is stocked now, held pieces included, whatever was there: for a first stock, or for a
record that is broken. Where orders run, use `stock receive` or `stock count`, because what they
complete while you type is not known to a bare number. The pieces that orders hold cannot be taken
from them.";

/// Show or set what is in stock
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum StockCommand {
    /// Show what is in stock
    #[command(after_help = SHOW)]
    Show {
        /// The SKUs, up to 1,000; none shows every SKU (up to 1,024)
        #[arg(value_name = "SKU")]
        skus: Vec<Sku>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Add the pieces of a delivery
    #[command(after_help = RECEIVE)]
    Receive {
        /// Pieces of a SKU; may be repeated, up to 1,000 times
        #[arg(required = true, value_name = "SKU=PIECES", value_parser = parse_item)]
        items: Vec<Item>,
        /// What tells this delivery from others, 1 to 64 bytes; without it, a new random one
        #[arg(long, value_name = "ID")]
        receipt: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Enter what was counted on the shelf
    #[command(after_help = COUNT)]
    Count {
        /// Pieces of a SKU, and the state that `stock show` printed; may be repeated, up to 1,000
        /// times
        #[arg(required = true, value_name = "SKU=PIECES@STATE", value_parser = parse_counted)]
        items: Vec<Counted>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Sell no more of a SKU
    #[command(after_help = DELIST)]
    Delist {
        /// The SKUs, up to 1,000
        #[arg(required = true, value_name = "SKU")]
        skus: Vec<Sku>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Set what is stocked, whatever was there
    #[command(after_help = SET)]
    Set {
        /// Pieces of a SKU; may be repeated, up to 1,000 times
        #[arg(required = true, value_name = "SKU=PIECES", value_parser = parse_item)]
        items: Vec<Item>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

fn parse_item(text: &str) -> Result<Item, String> {
    let (sku, pieces) = text.rsplit_once('=').ok_or("expected SKU=PIECES, as in ROSE-RED=1000")?;
    let sku = Sku::parse(sku).map_err(|error| error.to_string())?;
    let stocked = pieces
        .parse()
        .map_err(|_| "PIECES is a whole number of zero or more, as in ROSE-RED=1000")?;
    Ok(Item { sku, stocked })
}

fn parse_counted(text: &str) -> Result<Counted, String> {
    let (item, state) = text.rsplit_once('@').ok_or(
        "expected SKU=PIECES@STATE, as in ROSE-RED=998@1000-48213: `quadrille stock show` prints \
         the state, which says from when on completed orders are taken off what you counted",
    )?;
    let Item { sku, stocked: pieces } = parse_item(item)?;
    let state =
        state.parse().map_err(|error| format!("STATE {error}, from `quadrille stock show`"))?;
    Ok(Counted { sku, pieces, state })
}

pub(crate) async fn run(command: StockCommand, tool: &Tool) -> anyhow::Result<ExitCode> {
    let broker = &tool.connect().await?.broker;
    let of_items = |items: &[Item]| items.iter().map(|item| item.sku.clone()).collect();
    let (endpoint, question, skus, json) = match command {
        StockCommand::Show { skus, json } => return print_shown(broker, tool, &skus, json).await,
        StockCommand::Receive { items, receipt, json } => {
            let receipt = receipt.unwrap_or_else(|| format!("receipt-{}", random_text(12)));
            tool.ui.note(format!("receipt {receipt}"));
            let skus = of_items(&items);
            let received = |item: Item| Received { sku: item.sku, pieces: item.stocked };
            let items = items.into_iter().map(received).collect();
            (stock::RECEIVE, to_value(Receive { receipt, items })?, skus, json)
        }
        StockCommand::Count { items, json } => {
            let skus = items.iter().map(|item| item.sku.clone()).collect();
            (stock::COUNT, to_value(Count { items })?, skus, json)
        }
        StockCommand::Delist { skus, json } => {
            (stock::DELIST, to_value(Delist { skus: skus.clone() })?, skus, json)
        }
        StockCommand::Set { items, json } => {
            let skus: Vec<Sku> = of_items(&items);
            (stock::SET, to_value(Set::Many { items })?, skus, json)
        }
    };
    let before = show(broker, &skus).await?;
    let after = ask(broker, endpoint, &question).await?;
    print(&after, json)?;
    if after.iter().any(|shown| shown.repeated) {
        tool.ui.note("this receipt was entered before, so nothing was added now");
    } else {
        tool.ui.note(changed(&before, &after));
    }
    Ok(ExitCode::SUCCESS)
}

async fn print_shown(
    broker: &NatsBroker,
    tool: &Tool,
    skus: &[Sku],
    json: bool,
) -> anyhow::Result<ExitCode> {
    let question = Show { skus: skus.to_vec(), states: true, ..Show::default() };
    let shown = ask(broker, stock::SHOW, &question).await?;
    if json || !shown.is_empty() || skus.is_empty() {
        print(&shown, json)?;
    }
    if shown.iter().any(|shown| shown.state.is_none()) {
        tool.ui.note(
            "no state: completed orders are still leaving the shelf; show it again before you \
             count it",
        );
    }
    let missing = |sku: &&Sku| !shown.iter().any(|shown| shown.sku == **sku);
    let missing: Vec<_> = skus.iter().filter(missing).map(Sku::as_str).collect();
    if missing.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    tool.ui.note(format!("never stocked: {}", missing.join(", ")));
    Ok(ExitCode::FAILURE)
}

/// What each SKU was before, and is now.
fn changed(before: &[Shown], after: &[Shown]) -> String {
    let line = |now: &Shown| {
        let was = before.iter().find(|was| was.sku == now.sku);
        let was =
            was.map_or_else(|| "was never stocked".into(), |was| format!("had {}", was.stocked));
        let Shown { sku, stocked, free, held, .. } = now;
        format!("{sku} {was}, has {stocked}: {free} to sell, {held} for open orders")
    };
    after.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn print(shown: &[Shown], json: bool) -> anyhow::Result<()> {
    if json { output::json(&shown) } else { output::data(&text(shown)) }
}

/// What is in stock of these SKUs, or of all if there are none.
pub(crate) async fn show(broker: &NatsBroker, skus: &[Sku]) -> anyhow::Result<Vec<Shown>> {
    ask(broker, stock::SHOW, &Show { skus: skus.to_vec(), ..Show::default() }).await
}

async fn ask(
    broker: &NatsBroker,
    endpoint: &str,
    question: &impl Serialize,
) -> anyhow::Result<Vec<Shown>> {
    let subject = format!("{}.{endpoint}", stock::PREFIX);
    let question = serde_json::to_vec(question)?;
    let answer = broker.request(&subject, question.into()).await.map_err(|error| {
        anyhow::Error::new(error).context("the inventory worker was not reached").advise(
            "a reserve-inventory must be running on this broker: `quadrille dev` runs one, and \
             `nats micro ls` lists those that run",
        )
    })?;
    match answer {
        Ok(answer) => serde_json::from_slice(&answer).context("the inventory worker's answer"),
        Err(error) if error.code >= 500 => Err(anyhow!("{} ({})", error.message, error.code)
            .advise("the inventory worker could not find out: try again")),
        Err(error) => Err(anyhow!("the inventory worker refuses: {}", error.message)),
    }
}

fn text(shown: &[Shown]) -> String {
    if shown.is_empty() {
        return "nothing was ever stocked\n".to_owned();
    }
    let row = |shown: &Shown| {
        let Shown { sku, stocked, free, held, state, delisted, .. } = shown;
        let delisted = if *delisted { "delisted" } else { "" };
        let state = state.as_ref().map(State::to_string).unwrap_or_default();
        let numbers = [stocked, free, held].map(u64::to_string);
        let words = [state, delisted.to_owned()];
        [sku.to_string()].into_iter().chain(numbers).chain(words).collect()
    };
    // Only what `stock show` prints has states.
    let state = if shown.iter().any(|shown| shown.state.is_some()) { "state" } else { "" };
    let headings = ["sku", " stocked", " free", " held", state, ""];
    output::table(&headings, &shown.iter().map(row).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sku_may_hold_an_equals_sign() {
        let item = Item { sku: Sku::parse("A=B").unwrap(), stocked: 3 };
        assert_eq!(parse_item("A=B=3").unwrap(), item);
        for wrong in ["A", "A=", "A=-1", "=3", "A=1.5"] {
            assert!(parse_item(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_count_says_against_which_state_it_was_made() {
        let state = State { stocked: 4, edited: 17 };
        let counted = Counted { sku: Sku::parse("A@B").unwrap(), pieces: 3, state };
        assert_eq!(parse_counted("A@B=3@4-17").unwrap(), counted);
        for wrong in ["A=3", "A=3@4", "A=3@4-", "A=3@4-x", "A@4-17", "A=3@-4-17"] {
            assert!(parse_counted(wrong).is_err(), "{wrong}");
        }
        assert!(parse_counted("A=3").unwrap_err().contains("stock show"));
    }
}
