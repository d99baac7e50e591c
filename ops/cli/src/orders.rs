//! `quadrille orders`: lists, watches and finds orders by asking a query worker, which reads them
//! from its projection of the log. `trace` reads the log itself, and needs no query worker.

mod ls;
mod query;

use std::process::ExitCode;

use clap::Subcommand;
use quadrille::SagaId;
use quadrille::nats::NatsBroker;
use quadrille_tool::output::{self, BAD, Paint, QUIET, Style, UNDO};
use quadrille_tool::{Tool, why};
use serde_json::{Value, json};

use ls::LsArgs;
pub(crate) use query::ask;

const EXAMPLES: &str = "\
Examples:
  quadrille orders ls --order worst
  quadrille orders ls --held
  quadrille orders find JD0142
  quadrille orders watch";

const FIND: &str = "\
Examples:
  quadrille orders find A12
  quadrille orders find cus_1001 --json

Finds by order id (or a part of it that follows a dash), customer, SKU, payment, label, tracking
number, event id, trace id or sequence in the log.

Exit codes: 0 something was found; 1 nothing.";

const WATCH: &str = "\
Examples:
  quadrille orders watch
  quadrille orders watch --json | jq 'select(.kind == \"refusal\")'

Prints what happens from now on, one line each, until Ctrl-C. Where the log is restored or made
anew, a line on stderr says so, and it goes on from there.";

/// List, watch or find orders: asks a query worker
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum OrdersCommand {
    /// Print a list of orders
    #[command(after_help = ls::EXAMPLES)]
    Ls(Box<LsArgs>),
    /// Print what happens, as it happens
    #[command(after_help = WATCH)]
    Watch {
        /// Begin after this place: a token or a sequence
        #[arg(long, value_name = "TOKEN")]
        after: Option<String>,
        /// Print JSON, one line each
        #[arg(long)]
        json: bool,
    },
    /// Find orders by anything that identifies them
    #[command(after_help = FIND)]
    Find {
        /// What to look for
        #[arg(value_name = "TEXT")]
        text: String,
        /// Print JSON, one line each
        #[arg(long)]
        json: bool,
    },
}

pub(crate) async fn run(command: OrdersCommand, tool: &Tool) -> anyhow::Result<ExitCode> {
    match command {
        OrdersCommand::Ls(args) => ls::ls(&args, tool).await,
        OrdersCommand::Watch { after, json } => watch(after, json, tool).await,
        OrdersCommand::Find { text, json } => find(&text, json, tool).await,
    }
}

async fn find(text: &str, json: bool, tool: &Tool) -> anyhow::Result<ExitCode> {
    let connection = tool.connect().await?;
    let found = ask(&connection.broker, "orders.find", &json!({ "q": text })).await?;
    let hits = found["found"].as_array().cloned().unwrap_or_default();
    if json {
        hits.iter().try_for_each(output::json)?;
    } else if !hits.is_empty() {
        let row = |hit: &Value| {
            let by = format!("{} {}", word(&hit["by"]), word(&hit["value"]));
            let saga = &hit["saga"];
            vec![word(&hit["id"]), word(&saga["state"]), word(&saga["waits_for"]), by]
        };
        let rows: Vec<_> = hits.iter().map(row).collect();
        let headings = ["id", "state", "waits for", "found by"];
        output::data(&output::table_within(tool.ui.width, &headings, &rows, &["waits for"]))?;
    }
    let more = if found["more"] == true { ", and perhaps more" } else { "" };
    let note = format!("{} found{more}, as of {}", hits.len(), place(&found["as_of"]));
    tool.ui.note(quiet(tool, &note));
    if let Some(id) = SagaId::parse(text).ok().filter(|_| hits.is_empty()) {
        unread(&connection.broker, &id, tool).await?;
    }
    Ok(if hits.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Says what the log itself has of an id that is in no row: messages that nobody reads, mostly.
async fn unread(broker: &NatsBroker, id: &SagaId, tool: &Tool) -> anyhow::Result<()> {
    let (story, why) = why::ask(broker, tool.flow, id, tool.ui.tool).await?;
    if !story.events.is_empty() {
        tool.ui.note(why::sentence(&why));
    }
    Ok(())
}

async fn watch(after: Option<String>, json: bool, tool: &Tool) -> anyhow::Result<ExitCode> {
    let connection = tool.connect().await?;
    let mut question = json!({ "wait": "3s" });
    if let Some(after) = after {
        question["after"] = after.into();
    }
    tool.ui.note(quiet(
        tool,
        &format!(
            "watching the orders of {}: a line for each event, as it happens, until Ctrl-C",
            connection.url
        ),
    ));
    loop {
        let page = ask(&connection.broker, "orders.changes", &question).await?;
        if page["resync"] == true {
            tool.ui.note("another log, or too far back: going on from now");
        }
        for change in page["changes"].as_array().into_iter().flatten() {
            if json {
                output::json(change)?;
            } else {
                output::data(&line(change, tool.ui.on_stdout))?;
            }
        }
        question["after"] = page["after"].clone();
    }
}

fn line(change: &Value, paint: Paint) -> String {
    let style = match change["kind"].as_str() {
        Some("refusal" | "alien") => BAD,
        Some("undo") => UNDO,
        _ => Style::new(),
    };
    let stored_at = word(&change["stored_at"]);
    let time = stored_at.get(11..23).unwrap_or(&stored_at);
    let what = paint.paint(style, word(&change["type"]));
    let reason = change["reason"].as_str().map(|reason| format!(" ({reason})")).unwrap_or_default();
    let next = change["waits_for"].as_str().map(|worker| format!(", now {worker}"));
    let next = next.unwrap_or_else(|| format!(", {}", word(&change["state"])));
    let next = paint.paint(QUIET, next);
    format!("{time}  {}  {what}{reason}{next}\n", word(&change["id"]))
}

/// A text, or nothing.
fn word(value: &Value) -> String {
    match value {
        Value::String(text) => text.chars().filter(|c| !c.is_control()).collect(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// The place that rows are of, and how far behind.
fn place(as_of: &Value) -> String {
    let behind = as_of["behind"].as_u64().unwrap_or_default();
    let token = word(&as_of["token"]);
    if behind == 0 { token } else { format!("{token} ({behind} messages behind)") }
}

fn quiet(tool: &Tool, text: &str) -> String {
    tool.ui.on_stderr.paint(QUIET, text)
}
