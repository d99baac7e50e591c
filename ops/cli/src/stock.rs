//! `quadrille stock`: asks the inventory worker, the only process that writes stock.

use std::process::ExitCode;

use anyhow::{Context, anyhow};
use clap::Subcommand;
use quadrille::broker::Broker;
use quadrille::nats::NatsBroker;
use quadrille_tool::Tool;
use quadrille_tool::output::{self, Advise};
use schemas::Sku;
use schemas::stock::{self, Item, Set, Show, Shown};
use serde::Serialize;

const EXAMPLES: &str = "\
Examples:
  quadrille stock show
  quadrille stock set ROSE-RED=1000 VASE-GLASS=500";

const SHOW: &str = "\
Examples:
  quadrille stock show
  quadrille stock show ROSE-RED VASE-GLASS
  quadrille stock show --json | jq '.[].free'

stocked = free + held; held are the pieces of orders that were not cancelled. Numbers come from the
inventory worker, which reads them from its own stream.";

const SET: &str = "\
Examples:
  quadrille stock set ROSE-RED=1000
  quadrille stock set ROSE-RED=1000 VASE-GLASS=500 --json

Sets what is stocked, held pieces included; the pieces that orders hold cannot be taken from them.";

/// Show or set what is in stock
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum StockCommand {
    /// Print what is in stock
    #[command(after_help = SHOW)]
    Show {
        /// What to show; without any SKU, all of them, up to 1,024
        #[arg(value_name = "SKU")]
        skus: Vec<Sku>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Set what is in stock
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
    let stocked = pieces.parse().map_err(|_| "PIECES is a whole number of zero or more")?;
    Ok(Item { sku, stocked })
}

pub(crate) async fn run(command: StockCommand, tool: &Tool) -> anyhow::Result<ExitCode> {
    let connection = tool.connect().await?;
    match command {
        StockCommand::Set { items, json } => {
            let set = Set::Many { items };
            print(&ask(&connection.broker, stock::SET, &set).await?, json)?;
            Ok(ExitCode::SUCCESS)
        }
        StockCommand::Show { skus, json } => {
            let shown = show(&connection.broker, &skus).await?;
            if json || !shown.is_empty() || skus.is_empty() {
                print(&shown, json)?;
            }
            let missing = |sku: &&Sku| !shown.iter().any(|shown| shown.sku == **sku);
            let missing: Vec<_> = skus.iter().filter(missing).map(Sku::as_str).collect();
            if missing.is_empty() {
                return Ok(ExitCode::SUCCESS);
            }
            tool.ui.note(format!("never stocked: {}", missing.join(", ")));
            Ok(ExitCode::FAILURE)
        }
    }
}

fn print(shown: &[Shown], json: bool) -> anyhow::Result<()> {
    if json { output::json(&shown) } else { output::data(&text(shown)) }
}

/// What is in stock of these SKUs, or of all if there are none.
pub(crate) async fn show(broker: &NatsBroker, skus: &[Sku]) -> anyhow::Result<Vec<Shown>> {
    ask(broker, stock::SHOW, &Show { sku: None, skus: skus.to_vec() }).await
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
        let Shown { sku, stocked, free, held } = shown;
        vec![sku.to_string(), stocked.to_string(), free.to_string(), held.to_string()]
    };
    output::table(
        &["sku", " stocked", " free", " held"],
        &shown.iter().map(row).collect::<Vec<_>>(),
    )
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
}
