//! `quadrille rebuild`: builds the rows of a query worker anew, beside those that serve.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::anyhow;
use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use quadrille::broker::Broker;
use quadrille::nats::NatsBroker;
use quadrille_tool::Tool;
use quadrille_tool::output::{self, Advise, duration};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::orders::ask;

const EXAMPLES: &str = "\
Examples:
  quadrille rebuild                      how far the projection of each query worker is
  quadrille rebuild --write              build that of the only one anew, and wait for the end
  quadrille rebuild --replica 4f2a91c0 --write

It is never needed after a crash, a restored log or a new version: a query worker notices these by
itself. The old rows serve until the new ones are as far. Each replica has rows of its own; where
several answer, or none says that it is the only one, --write needs --replica.";

/// What every replica answers.
const EACH: &str = "query.each.projections";

/// How long the replicas are waited for, because nobody knows how many there are.
const PATIENCE: Duration = Duration::from_millis(500);

/// Looks for replicas, at most, until one finds none that is new.
const LOOKS: usize = 5;

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
    /// The replica, as the call without --write names it
    #[arg(long, value_name = "REPLICA")]
    replica: Option<String>,
    /// Print JSON, one line for each replica
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(args: &RebuildArgs, tool: &Tool) -> anyhow::Result<ExitCode> {
    let connection = tool.connect().await?;
    let broker = &connection.broker;
    let (found, are_all) = match &args.replica {
        Some(replica) if replica.bytes().all(|b| b.is_ascii_alphanumeric()) => {
            (vec![ask(broker, &format!("query.{replica}.projections"), &json!({})).await?], true)
        }
        Some(_) => return Err(anyhow!("--replica: a name has letters and digits only")),
        None => replicas(broker, if args.write { LOOKS } else { 1 }).await?,
    };
    let calls = calls(&found, tool);
    match found.as_slice() {
        [one] if args.write && are_all => write(broker, one, args.json, tool).await?,
        several if args.write => {
            let what = match several.len() {
                1 => "this query worker may be one of several: none answers the call to all".into(),
                count => format!("several query workers run ({count} of them)"),
            };
            let what = format!("nothing was changed: {what}, and each has rows of its own");
            return Err(anyhow!(what).advise(format!("say which one: {calls}")));
        }
        found => {
            for answer in found {
                show(answer, args.json)?;
            }
            tool.ui.note(format!("nothing was changed; {calls} builds it anew"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What each replica says of its rows, in the order of their names; and whether they are all that
/// answer. Several looks find one that was busy during the first.
async fn replicas(broker: &NatsBroker, looks: usize) -> anyhow::Result<(Vec<Value>, bool)> {
    let mut found = BTreeMap::new();
    for look in 0..looks {
        let known = found.len();
        for answer in broker.ask_each(EACH, "{}".into(), PATIENCE).await? {
            // An answer that cannot be read is one of another program.
            let answer = serde_json::from_slice::<Value>(&answer).unwrap_or_default();
            if let Some(replica) = answer["replica"].as_str() {
                found.insert(replica.to_owned(), answer);
            }
        }
        if found.len() == known && look > 0 {
            break;
        }
    }
    if found.is_empty() {
        // Of an older version, or out of our reach; any of them answers this.
        return Ok((vec![ask(broker, "orders.projections", &json!({})).await?], false));
    }
    Ok((found.into_values().collect(), true))
}

/// The call that builds each of them.
fn calls(found: &[Value], tool: &Tool) -> String {
    let (name, target) = (tool.ui.tool, tool.target.given());
    let call = |answer: &Value| {
        let replica = answer["replica"].as_str().unwrap_or_default();
        format!("`{name} rebuild{target} --replica {replica} --write`")
    };
    found.iter().map(call).collect::<Vec<_>>().join(" or ")
}

async fn write(broker: &NatsBroker, before: &Value, json: bool, tool: &Tool) -> anyhow::Result<()> {
    let replica = before["replica"].as_str().unwrap_or_default();
    let began = Instant::now();
    let before = ask(broker, &format!("query.{replica}.rebuild"), &json!({})).await?;
    let after = wait(broker, replica, &before, tool).await?;
    show(&after, json)?;
    let took = duration(began.elapsed().as_secs_f64() * 1e3);
    tool.ui.note(format!("replica {replica}: built anew in {took}"));
    Ok(())
}

fn show(answer: &Value, json: bool) -> anyhow::Result<()> {
    if json { output::json(answer) } else { output::data(&sentence(answer)) }
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
