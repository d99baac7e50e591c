//! `parked discard`: gives messages up, and ends their sagas in the way that is still open.

mod way;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{anyhow, bail};
use quadrille::broker::Published;
use quadrille::event::runtime::CancelRequested;
use quadrille::log::cancel;
use quadrille::log::open::{self, When};
use quadrille::log::parked::{Audit, Release, Verdict};
use quadrille::log::story::{Obstacle, Occupied};
use quadrille::nats::NatsBroker;
use quadrille::{Reason, SagaId};
use serde::Serialize;

use super::DiscardArgs;
use super::cases::{self, Case};
use super::plan::{audit_subject, document, plan, send};
use crate::output::{self, Advise, QUIET};
use crate::tool::Tool;

use way::{Way, way};

/// How long a publish without an answer is repeated.
const PATIENCE: Duration = Duration::from_secs(15);

#[derive(Debug, Serialize)]
struct Line<'c> {
    saga: &'c str,
    durable: &'c str,
    parked: u64,
    way: Way,
    written: bool,
}

pub(super) async fn run(args: &DiscardArgs, tool: &Tool) -> anyhow::Result<ExitCode> {
    let permission = args.write.permission();
    if permission.is_some() {
        args.selection.check("discard", tool)?;
    }
    let connection = tool.connect().await?;
    let broker = &connection.broker;
    let cases = cases::read(broker, tool.flow, |_| false, tool.ui).await?;
    let plan = plan(cases, &args.selection, tool)?;
    let mut code = ExitCode::SUCCESS;
    for case in &plan.settled {
        say(case, (Way::Settled, None), false, args, tool)?;
        code = ExitCode::FAILURE;
    }
    let mut would = 0;
    for case in &plan.cases {
        let (way, occupied) = way(broker, case, tool).await?;
        let acts = permission.is_some() && way.is_open();
        if acts {
            act(broker, case, way, args, tool).await?;
        }
        say(case, (way, occupied), acts, args, tool)?;
        would += usize::from(way.is_open());
        if !way.is_open() {
            code = ExitCode::FAILURE;
        }
    }
    if plan.cases.is_empty() && plan.settled.is_empty() && !args.json {
        output::data("nothing to discard\n")?;
    }
    if permission.is_none() && would > 0 {
        plan.advise("discard", &args.selection, &args.actor, tool);
        return Ok(ExitCode::from(2));
    }
    Ok(code)
}

fn say(
    case: &Case,
    (way, occupied): (Way, Option<Occupied>),
    written: bool,
    args: &DiscardArgs,
    tool: &Tool,
) -> anyhow::Result<()> {
    let (saga, durable, parked) = (case.id(), &case.durable, case.newest().sequence);
    if args.json {
        return output::json(&Line { saga, durable, parked, way, written });
    }
    let saga = case.name();
    let sentence = match (way, written) {
        (Way::Cancel, true) => format!("{saga}: its cancellation is asked for"),
        (Way::Cancel, false) => format!("{saga}: its cancellation would be asked for"),
        (Way::Refuse, true) => {
            format!("{saga}: {durable} is told to refuse it, which takes a minute or so")
        }
        (Way::Refuse, false) => format!("{saga}: {durable} would be told to refuse it"),
        (Way::Close, true) => format!("{saga}: closed; {}", why_closed(case, occupied, tool)),
        (Way::Close, false) => {
            format!("{saga}: would be closed; {}", why_closed(case, occupied, tool))
        }
        (Way::OnlyRetry, _) => {
            let slot = case.row(tool.flow).map_or("the slot before", |row| row.on);
            tool.ui.error(
                &anyhow!("{saga} cannot be discarded: {slot} is decided, and the saga goes on")
                    .advise(format!("`{} parked retry {saga}` is what is left", tool.ui.tool)),
            );
            return Ok(());
        }
        (Way::Occupied, _) => {
            let Some(occupied) = occupied else { return Ok(()) };
            let what = format!("{saga} cannot be discarded: {}", occupied.what());
            tool.ui.error(&anyhow!(what).advise(occupied.way_out()));
            return Ok(());
        }
        (Way::Unknown, _) => {
            let then = format!(", then `{} parked retry {saga}`", tool.ui.tool);
            let (what, advice) = of_unknown_opening(&case.parked().reason, &then, tool);
            tool.ui.error(&anyhow!("{saga} cannot be given up: {what}").advise(advice));
            return Ok(());
        }
        (Way::LookAgain, _) => {
            let what = format!("the replicas of the log do not agree on {saga} yet");
            tool.ui.error(&anyhow!(what).advise("nothing is changed: ask again in a moment"));
            return Ok(());
        }
        (Way::Settled, _) => {
            let slot = case.row(tool.flow).map_or("its slot", |row| row.slot);
            let settled = "is decided, or the saga has ended; nothing is changed";
            tool.ui.error(&anyhow!("{saga} cannot be discarded: {slot} {settled}"));
            return Ok(());
        }
    };
    output::data(&format!("{sentence}\n"))?;
    if written && matches!(way, Way::Cancel | Way::Refuse) {
        let follow = format!("follow it with `{} trace {saga}`", tool.ui.tool);
        tool.ui.note(tool.ui.on_stderr.paint(QUIET, follow));
    }
    Ok(())
}

/// What keeps an opening from being taken back that was set aside for this `reason`, because no
/// worker knows its type or its version; and what to do, which ends with `then`.
pub(crate) fn of_unknown_opening(reason: &str, then: &str, tool: &Tool) -> (String, String) {
    let is_version = reason == Reason::UnknownVersion.code();
    let what = if is_version { "version" } else { "type" };
    let why = format!(
        "its opening is of a {what} that no worker here knows, so none can tell whether one that \
         knew it has run on it"
    );
    let start = format!("start workers that know this {what}{then}");
    // A version is one of a client that is ahead of its workers.
    let advice = match is_version {
        true => start,
        false => format!(
            "{start}; if none ever did, it is a typing mistake: take all of this {} out of the \
             log, as Quadrille's ops/replay.md says: until then its id is spent",
            tool.flow.saga
        ),
    };
    (why, advice)
}

fn why_closed(case: &Case, occupied: Option<Occupied>, tool: &Tool) -> String {
    if case.is_orphan_effect() {
        return "what happened outside is yours to mend, and the saga goes its own way".to_owned();
    }
    if case.saga.is_none() {
        return format!("its subject has no valid id, so no {} was ever behind it", tool.flow.saga);
    }
    let stays = format!(
        "what {} and the steps before it did, if anything, is not taken back by this",
        case.durable
    );
    match occupied {
        Some(spent) if spent.kind == Obstacle::Spent => {
            format!("there is no opening of it in the log; {}", spent.what())
        }
        Some(leftover) => format!("{}; {stays}", leftover.what()),
        None => format!("there is no opening of it in the log; {stays}"),
    }
}

/// The deed, then the audit event: a command that dies in between is run again.
async fn act(
    broker: &NatsBroker,
    case: &Case,
    way: Way,
    args: &DiscardArgs,
    tool: &Tool,
) -> anyhow::Result<()> {
    let (by, reason) = (args.actor.by(), args.actor.reason.clone());
    let parked = case.newest().sequence;
    match (way, &case.saga) {
        (Way::Cancel, Some(saga)) => {
            ask(broker, saga, &CancelRequested { by: by.clone(), reason: reason.clone() }, tool)
                .await?;
        }
        (Way::Refuse, Some(saga)) => {
            let release = Release {
                verdict: Verdict::Refuse,
                by: by.clone(),
                reason: reason.clone(),
                parked,
                batch: String::new(),
            };
            let subject = tool.flow.released(&case.durable, saga);
            send(broker, &subject, serde_json::to_vec(&release)?, tool).await?;
        }
        (Way::Cancel | Way::Refuse | Way::Close, _) => {}
        (Way::OnlyRetry | Way::Settled | Way::Occupied | Way::Unknown | Way::LookAgain, _) => {
            return Ok(());
        }
    }
    let audit = Audit {
        verb: "discard".to_owned(),
        by,
        reason,
        durable: case.durable.clone(),
        parked,
        selected: args.selection.words(),
        count: 1,
    };
    let subject = audit_subject(tool.flow, "discard", case.id());
    send(broker, &subject, document(&audit), tool).await?;
    Ok(())
}

async fn ask(
    broker: &NatsBroker,
    saga: &SagaId,
    asked: &CancelRequested,
    tool: &Tool,
) -> anyhow::Result<()> {
    let Some(wish) = cancel::wish(tool.flow, saga, "operator", asked, None) else {
        bail!("the flow {} has no cancellation: see `cancels` of its table", tool.flow.saga);
    };
    let opened = open::open(broker, tool.flow, &wish, |_| true, PATIENCE).await;
    let opened = opened.map_err(|error| {
        anyhow::Error::new(error)
            .context(format!("{saga} was not cancelled"))
            .advise("run the command again: that is safe")
    })?;
    if opened.when == When::Before {
        match cancel::ask_again(broker, tool.flow, saga).await {
            Published::Stored { .. } => {}
            other => bail!("the wish to cancel {saga} was not sent again: {other:?}"),
        }
    }
    Ok(())
}
