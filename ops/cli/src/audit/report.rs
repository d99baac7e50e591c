//! What an audit prints: progress to stderr, the verdict to stdout.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use quadrille_tool::output::{self, BAD, GOOD, Ui, wrapped};
use tokio::time::Instant;

use super::verdict::{Invariant, Verdict};

/// What to do about what breaks an invariant; one for several that have the same cause.
const fn advice(of: Invariant) -> &'static str {
    match of {
        Invariant::Contract => {
            "what breaks `contract` was written by none of the workers: find its writer. What \
             nothing reads does no harm: an order under a mistyped subject is placed again with \
             `quadrille place`. To take a message out of the log, see \"Remove a message\" in \
             ops/replay.md"
        }
        Invariant::Recorded | Invariant::Money | Invariant::Parcels | Invariant::Effects => {
            "where log and ledger differ, first ask whether the ledger is whole, from its first \
             line, and of the services that the workers of this log call. If so, `quadrille trace \
             ID` says what an order's workers recorded, and the lines of the ledger that name it \
             say what happened: settle the difference with the customer, and find out which is \
             wrong"
        }
        Invariant::Ending => "`quadrille why ID` says what an open order waits for, and what to do",
        Invariant::Stock => {
            "`quadrille stock show` says what the inventory worker believes; count the shelf, and \
             enter it with `quadrille stock count`, once it is known which order held what"
        }
        Invariant::Parked => {
            "a parked message that is not what the log has was not set aside by a worker: \
             `quadrille parked ls` lists it, if it can be read, and its number is that of a \
             message of ORDERS_PARKED, which `nats stream get` shows; find its writer"
        }
        Invariant::Slots | Invariant::Causes | Invariant::Completed | Invariant::Cancelled => {
            "no worker leaves such a log behind: a message was taken out of it, or written by \
             another hand. `quadrille trace ID` says who wrote what and when; a backup from before \
             shows what is missing"
        }
    }
}

/// Cells in a line of advice where no terminal says how many it has.
const LINE: usize = 100;

/// Progress of reading, over all passes.
pub(super) struct Progress {
    bar: ProgressBar,
    ui: Ui,
    told: Instant,
}

impl Progress {
    pub(super) fn new(messages: Option<u64>, ui: Ui) -> Self {
        let target =
            if ui.watched { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let form = match messages {
            Some(_) => "{bar:20} {pos}/{len} messages, {msg}, {eta} left",
            None => "{spinner} {pos} messages, {msg}",
        };
        let style = ProgressStyle::with_template(form);
        let bar = ProgressBar::with_draw_target(messages, target)
            .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        let this = Self { bar, ui, told: Instant::now() };
        this.bar.set_message(violations(0));
        this
    }

    pub(super) fn more(&mut self, messages: u64, verdict: &Verdict) {
        self.bar.inc(messages);
        let found = violations(verdict.count());
        if self.ui.watched {
            self.bar.set_message(found);
        } else if self.told.elapsed() > Duration::from_secs(5) {
            self.told = Instant::now();
            let of = self.bar.length().map(|all| format!(" of about {all}")).unwrap_or_default();
            self.ui.note(format!("{}{of} messages read, {found}", self.bar.position()));
        }
    }

    pub(super) fn end(&self) {
        self.bar.finish_and_clear();
    }
}

pub(super) fn tell(verdict: &Verdict, json: bool, ui: Ui) -> anyhow::Result<ExitCode> {
    if json {
        output::json(verdict)?;
    } else {
        output::data(&text(verdict, ui))?;
    }
    Ok(if verdict.sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn text(verdict: &Verdict, ui: Ui) -> String {
    let paint = ui.on_stdout;
    let mut text = String::new();
    for violation in &verdict.violations {
        let order = violation.order.as_ref().map(|id| format!("order {id}: ")).unwrap_or_default();
        let name = paint.paint(BAD, name(violation.invariant));
        text.push_str(&format!("{name}: {order}{}\n", violation.what));
    }
    let more = verdict.count().saturating_sub(verdict.violations.len() as u64);
    if more > 0 {
        text.push_str(&format!("and {more} more\n"));
    }
    let mut not_checked = BTreeMap::<_, Vec<_>>::new();
    for (invariant, why) in &verdict.not_checked {
        not_checked.entry(why).or_default().push(name(*invariant));
    }
    for (why, names) in not_checked {
        text.push_str(&format!("not checked, or not for all: {}: {why}\n", names.join(", ")));
    }
    let advice: BTreeSet<_> = verdict.broken.keys().map(|broken| advice(*broken)).collect();
    for advice in advice {
        let advice = ui.as_called(advice);
        // A terminal breaks the lines where it is wide enough.
        let lines = ui.width.map_or_else(|| wrapped(&advice, LINE), |_| advice.clone());
        text.push_str(&format!("{lines}\n"));
    }
    if verdict.unopened > 0 {
        let ids = if verdict.unopened == 1 { "id has" } else { "ids have" };
        text.push_str(&format!(
            "{} {ids} events, and no opening in the log: no orders, and not counted below\n",
            verdict.unopened
        ));
    }
    let Verdict { messages, orders, completed, cancelled, open, parked, effects, .. } = verdict;
    let first = match verdict.sound {
        true => paint.paint(GOOD, "sound"),
        false => paint.paint(BAD, format!("broken: {}", violations(verdict.count()))),
    };
    text.push_str(&format!(
        "{first}: {orders} orders ({completed} completed, {cancelled} cancelled, {open} open, \
         {parked} of those parked), {messages} messages, {effects} effects\n"
    ));
    text
}

fn violations(count: u64) -> String {
    format!("{count} violation{}", if count == 1 { "" } else { "s" })
}

/// As in the JSON.
fn name(invariant: Invariant) -> String {
    let value = serde_json::to_value(invariant).unwrap_or_default();
    value.as_str().unwrap_or_default().to_owned()
}
