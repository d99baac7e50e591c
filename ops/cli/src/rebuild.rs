//! `quadrille rebuild`: builds the rows of a query worker anew, beside those that serve.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::anyhow;
use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use quadrille::nats::NatsBroker;
use quadrille_tool::Tool;
use quadrille_tool::output::{self, Advise};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::orders::ask;

const EXAMPLES: &str = "\
Examples:
  quadrille rebuild                      how far the projection of a query worker is
  quadrille rebuild --write              build it anew, and wait for the end
  quadrille rebuild --replica 4f2a91c0 --write

It is never needed after a crash, a restored log or a new version: a query worker notices these by
itself. The old rows serve until the new ones are as far. Each replica has rows of its own; without
--replica the broker picks one.";

/// How often a build is asked how far it is.
const POLL: Duration = Duration::from_millis(200);

/// So often a build that began must be gone: its end and the swap are not one moment.
const GIVEN_UP: u32 = 25;

/// Build a query worker's projection anew, while the old one serves
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct RebuildArgs {
    /// Build; without it, only say how far the projection is
    #[arg(long)]
    write: bool,
    /// The replica, as its answers name it
    #[arg(long, value_name = "REPLICA")]
    replica: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(args: &RebuildArgs, tool: &Tool) -> anyhow::Result<ExitCode> {
    let connection = tool.connect().await?;
    let prefix = match &args.replica {
        Some(replica) if replica.bytes().all(|b| b.is_ascii_alphanumeric()) => {
            format!("query.{replica}")
        }
        Some(_) => return Err(anyhow!("--replica: a name has letters and digits only")),
        None => "orders".to_owned(),
    };
    let verb = if args.write { "rebuild" } else { "projections" };
    let before = ask(&connection.broker, &format!("{prefix}.{verb}"), &json!({})).await?;
    let replica = before["replica"].as_str().unwrap_or_default().to_owned();
    let after = match args.write {
        true => wait(&connection.broker, &replica, &before, tool).await?,
        false => before,
    };
    if args.json {
        output::json(&after)?;
    } else {
        output::data(&sentence(&after))?;
    }
    if !args.write {
        tool.ui.note("nothing was changed; --write builds it anew");
    }
    Ok(ExitCode::SUCCESS)
}

/// Draws how far it is until another file serves.
async fn wait(
    broker: &NatsBroker,
    replica: &str,
    before: &Value,
    tool: &Tool,
) -> anyhow::Result<Value> {
    let target =
        if tool.ui.watched { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(Some(0), target);
    let template = "{bar:30} {human_pos}/{human_len} events, {msg}";
    bar.set_style(ProgressStyle::with_template(template)?);
    let builds = |answer: &Value| answer["projections"][0]["builds"].as_u64();
    let (mut began, mut idle) = (false, 0);
    loop {
        let subject = format!("query.{replica}.projections");
        let now = ask(broker, &subject, &json!({})).await.map_err(|error| {
            error.advise("if that replica was restarted, its build ended; ask for another one")
        })?;
        let building = &now["projections"][0]["building"];
        if builds(&now) != builds(before) {
            bar.finish_and_clear();
            return Ok(now);
        }
        idle = if building.is_null() { idle + 1 } else { 0 };
        began |= idle == 0;
        if began && idle >= GIVEN_UP {
            let why = now["projections"][0]["trouble"].as_str().unwrap_or("it does not say why");
            let what = format!("the build ended without a file: {why}");
            return Err(
                anyhow!(what).advise("the old rows go on serving; the log of `query` says more")
            );
        }
        bar.set_length(building["total"].as_u64().unwrap_or_default());
        bar.set_position(building["done"].as_u64().unwrap_or_default());
        let rate = building["per_second"].as_u64().unwrap_or_default();
        bar.set_message(match building["eta_s"].as_u64() {
            Some(0) => "indexes".to_owned(),
            Some(seconds) => format!("{rate}/s, {seconds} s to go"),
            None => "beginning".to_owned(),
        });
        sleep(POLL).await;
    }
}

fn sentence(answer: &Value) -> String {
    let projection = &answer["projections"][0];
    let text = |value: &Value| value.as_str().unwrap_or("nothing").to_owned();
    let trouble = projection["trouble"].as_str().map(|why| format!("; {why}")).unwrap_or_default();
    format!(
        "replica {}: {} version {} serves {}, {} behind, {} skipped{trouble}\n  {}\n",
        text(&answer["replica"]),
        text(&projection["name"]),
        projection["version"],
        text(&answer["as_of"]["token"]),
        answer["as_of"]["behind"],
        projection["skipped"],
        text(&projection["file"]),
    )
}
