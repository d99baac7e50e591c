//! `orders ls`: a list, page by page, with what workers hold of it or why it waits, if that is
//! asked for.

use std::process::ExitCode;

use clap::Args;
use jiff::Timestamp;
use quadrille_tool::Tool;
use quadrille_tool::output::{self, duration};
use quadrille_tool::values::{moment, rows};
use serde_json::{Map, Value};

use super::{ask, place, quiet, word};

pub(super) const EXAMPLES: &str = "\
Examples:
  quadrille orders ls
  quadrille orders ls --order worst      what waits, as `quadrille open` lists it
  quadrille orders ls --waits-for charge-customer --older-than 10m
  quadrille orders ls --held             what workers have in hand: attempt, last error, next try
  quadrille orders ls --why breaker-paused
  quadrille orders ls --customer cus_1001 --limit 1000 --json | jq .id

The rows come from a query worker's projection, and stderr says which place of the log they are of.
--min-seq waits for a place: the token or the sequence that placing an order has printed. What is in
hand, and why an order waits, is in no rows: the workers are asked, and stderr says which of them
did not answer.";

/// What to list.
#[derive(Debug, Args)]
pub(crate) struct LsArgs {
    /// open, parked, cancelling, completed or cancelled; those that are parked are open, too
    #[arg(long, value_name = "STATE", hide_possible_values = true)]
    #[arg(value_parser = ["open", "parked", "cancelling", "completed", "cancelled"])]
    state: Option<String>,
    /// The worker whose turn it is
    #[arg(long, value_name = "WORKER")]
    waits_for: Option<String>,
    /// Why it was turned around
    #[arg(long)]
    reason: Option<String>,
    /// The slot that turned it around: payment
    #[arg(long, value_name = "SLOT")]
    refused_at: Option<String>,
    /// The customer's reference
    #[arg(long)]
    customer: Option<String>,
    /// A SKU of one of the lines
    #[arg(long)]
    sku: Option<String>,
    /// Where it goes: ISO 3166-1 alpha-2
    #[arg(long)]
    country: Option<String>,
    /// In a worker's hand now: retrying (an attempt failed), waiting (for a service), or any
    #[arg(long, value_name = "WHICH", num_args = 0..=1, default_missing_value = "any")]
    #[arg(value_parser = ["any", "retrying", "waiting"], hide_possible_values = true)]
    held: Option<String>,
    /// Waits for this reason now, as `quadrille why` says it: retrying, breaker-paused, no-worker
    #[arg(long, value_name = "CODE")]
    why: Option<String>,
    /// Placed then or later: 2026-11-25T12:00:00Z, or how long ago: 2m, 1h, 3d
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<Timestamp>,
    /// Placed before then
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<Timestamp>,
    /// Placed longer ago than this: 10m, 24h, 7d
    #[arg(long, value_name = "TIME")]
    older_than: Option<String>,
    /// newest, oldest, or worst: those that wait longest [default: newest, with --why worst]
    #[arg(long, value_name = "ORDER", hide_possible_values = true)]
    #[arg(value_parser = ["newest", "oldest", "worst"])]
    order: Option<String>,
    /// Rows, at most
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = rows)]
    limit: usize,
    /// Wait until the rows are of this place: a token or a sequence
    #[arg(long, value_name = "TOKEN")]
    min_seq: Option<String>,
    /// Print JSON, one line for each order
    #[arg(long)]
    json: bool,
}

/// Rows of one answer.
const PAGE: usize = 200;

pub(super) async fn ls(args: &LsArgs, tool: &Tool) -> anyhow::Result<ExitCode> {
    let connection = tool.connect().await?;
    let mut question = question(args);
    let (mut rows, mut count, mut looked_at) = (Vec::new(), None, 0);
    let (last, more) = loop {
        let limit = (args.limit - rows.len()).min(PAGE);
        question.insert("limit".to_owned(), limit.max(1).into());
        let mut page =
            ask(&connection.broker, "orders.list", &Value::from(question.clone())).await?;
        if let Value::Array(found) = page["orders"].take() {
            rows.extend(found);
        }
        count = count.or_else(|| page["count"]["text"].as_str().map(str::to_owned));
        looked_at += page["looked_at"]["rows"].as_u64().unwrap_or_default();
        match page["next"].take() {
            Value::String(next) if rows.len() < args.limit => {
                question.insert("after".to_owned(), next.into());
            }
            next => break (page, next.is_string()),
        }
    };
    rows.truncate(args.limit);
    if args.json {
        rows.iter().try_for_each(output::json)?;
    } else if !rows.is_empty() {
        let now = last["now"].as_str().and_then(|now| now.parse().ok());
        let table = match args.held {
            Some(_) => held_table(&rows, now, tool.ui.width),
            None => table(&rows, args, tool.ui.width),
        };
        output::data(&table)?;
    }
    let of = count.map(|count| format!(" of {count}")).unwrap_or_default();
    let looked_at = match looked_at {
        0 => String::new(),
        looked_at => format!(", {looked_at} looked at"),
    };
    let place = place(&last["as_of"]);
    let more = if more { " (a larger --limit may show more)" } else { "" };
    tool.ui.note(quiet(tool, &format!("{}{of}{more}{looked_at}, as of {place}", rows.len())));
    if args.held.is_some() && rows.is_empty() {
        let tool_name = tool.ui.tool;
        tool.ui.note(quiet(tool, &format!(
            "no worker names one that waits or has failed; what a replica has just begun, or had \
             when it died, is in `{tool_name} orders ls --why in-hand`"
        )));
    }
    for missing in missing(&last) {
        tool.ui.note(missing);
    }
    Ok(ExitCode::SUCCESS)
}

fn question(args: &LsArgs) -> Map<String, Value> {
    let mut question = Map::new();
    let [since, until] = [args.since, args.until].map(|time| time.map(|time| time.to_string()));
    for (name, value) in [
        ("state", &args.state),
        ("waits_for", &args.waits_for),
        ("reason", &args.reason),
        ("refused_at", &args.refused_at),
        ("customer", &args.customer),
        ("sku", &args.sku),
        ("country", &args.country),
        ("held", &args.held),
        ("why", &args.why),
        ("since", &since),
        ("until", &until),
        ("older_than", &args.older_than),
        ("order", &args.order),
        ("min_seq", &args.min_seq),
    ] {
        question.extend(value.clone().map(|value| (name.to_owned(), value.into())));
    }
    question
}

/// What an answer that the workers were asked for does not have.
fn missing(page: &Value) -> Vec<String> {
    let asked = page["asked"].as_array().into_iter().flatten();
    let silent = asked.filter(|worker| worker["replicas"] == 0);
    let mut missing: Vec<_> = silent
        .map(|worker| {
            format!("no replica of {} answers: what it holds is not here", word(&worker["worker"]))
        })
        .collect();
    if let Some(more @ 1..) = page["not_named"].as_u64() {
        missing
            .push(format!("{more} more messages are held, by workers that hold too many to name"));
    }
    missing
}

fn table(rows: &[Value], args: &LsArgs, width: Option<usize>) -> String {
    let why = args.why.is_some();
    let row = |row: &Value| {
        let details = &row["details"];
        vec![
            word(&row["id"]),
            word(&row["state"]),
            word(&row["waits_for"]),
            row["waits_ms"].as_f64().map_or_else(String::new, duration),
            word(if why { &row["why"]["code"] } else { &row["reason"] }),
            word(&details["customer"]),
            took(row),
        ]
    };
    let rows: Vec<_> = rows.iter().map(row).collect();
    let reason = if why { "why" } else { "reason" };
    let headings = ["id", "state", "waits for", " for", reason, "customer", " took"];
    output::table_within(width, &headings, &rows, &["took", "customer"])
}

/// How long it took; of an order that has not ended, how long so far.
fn took(row: &Value) -> String {
    let long = row["age_ms"].as_f64().map_or_else(String::new, duration);
    if row["waits_for"].is_null() { long } else { format!("{long} so far") }
}

/// A line for each message in hand. `now` is the broker's.
fn held_table(rows: &[Value], now: Option<Timestamp>, width: Option<usize>) -> String {
    let messages = rows.iter().flat_map(|row| row["held"].as_array().into_iter().flatten());
    let row = |held: &Value| {
        let time = |name: &str| {
            let time = word(&held[name]);
            time.get(11..19).map_or(time.clone(), str::to_owned)
        };
        let next: Option<Timestamp> = held["next_try"].as_str().and_then(|at| at.parse().ok());
        let next = match next {
            None => "now".to_owned(),
            // Its service is paused, or answers others first.
            Some(at) if now.is_some_and(|now| at <= now) => "once a call is free".to_owned(),
            Some(_) => time("next_try"),
        };
        let names = ["id", "worker", "attempt"].map(|name| word(&held[name]));
        let rest = [time("since"), next, word(&held["last_error"])];
        names.into_iter().chain(rest).collect()
    };
    let rows: Vec<Vec<String>> = messages.map(row).collect();
    let headings = ["id", "worker", " attempt", "since", "next try", "last error"];
    output::table_within(width, &headings, &rows, &["since"])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_next_try_is_to_come_or_waits_for_a_call() {
        let held = |id: &str, next_try: Value| {
            json!({ "id": id, "worker": "charge-customer", "attempt": 1, "next_try": next_try,
                "since": "2026-11-26T12:00:00Z", "last_error": "503" })
        };
        let rows = [json!({ "held": [
            held("A1", json!("2026-11-26T12:00:04Z")),
            held("A2", json!("2026-11-26T12:00:06.5Z")),
            held("A3", Value::Null),
        ] })];
        let now = "2026-11-26T12:00:05Z".parse().ok();
        let table = held_table(&rows, now, None);
        let lines: Vec<_> = table.lines().skip(1).collect();
        assert!(lines[0].contains("once a call is free"), "{table}");
        assert!(!lines[0].contains("12:00:04"), "{table}");
        assert!(lines[1].contains("12:00:06"), "{table}");
        assert!(lines[2].contains(" now "), "{table}");
    }
}
