//! `parked retry`: releases messages, and follows them until their steps have decided.
//!
//! What is on its way is known from the stream itself, so an interrupted command goes on where it
//! stopped. A release that is stored twice runs once: same key, same slot.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::anyhow;
use quadrille::broker::{Broker, Care};
use quadrille::log::parked::{self, Audit, Entry, Release, Verdict};
use quadrille::nats::NatsBroker;
use serde::Serialize;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::RetryArgs;
use super::cases::{self, Case};
use super::left_out;
use super::plan::{Plan, audit_subject, document, plan, send};
use super::settled;
use crate::output::{self, Advise, QUIET};
use crate::tool::Tool;

/// How often the command looks what has become of its releases.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// While it waits, it says so this often.
const SAY_EVERY: Duration = Duration::from_secs(5);

#[derive(Debug, Default, Serialize)]
struct Report {
    up_to: u64,
    /// Released by this call.
    released: usize,
    /// On their way before it.
    before: usize,
    /// Of those released, decided by now.
    settled: usize,
    /// Of those released, parked again: the saga, and why.
    parked_again: Vec<String>,
    /// What to do about the first of these.
    #[serde(skip)]
    advice: String,
    /// Of the plan, not released.
    left: usize,
    written: bool,
}

pub(super) async fn run(args: &RetryArgs, tool: &Tool) -> anyhow::Result<ExitCode> {
    let permission = args.write.permission();
    if permission.is_some() {
        args.selection.check("retry", tool)?;
    }
    let connection = tool.connect().await?;
    let broker = &connection.broker;
    let cases = cases::read(broker, tool.flow, |_| false, tool.ui).await?;
    let mut plan = plan(cases, &args.selection, tool)?;
    let is_blocked = left_out::take(&mut plan, broker, tool).await?;
    left_out::in_vain(&plan, tool);
    for case in &plan.settled {
        let (id, durable) = (case.id(), &case.durable);
        let what = "has decided, or the saga has ended; nothing is changed";
        tool.ui.note(format!("{id}: settled: {durable} {what}"));
    }
    let mut report = Report {
        up_to: plan.up_to,
        before: plan.released,
        left: plan.cases.len(),
        ..Report::default()
    };
    if permission.is_none() || plan.cases.is_empty() {
        if args.json {
            output::json(&report)?;
        } else {
            output::data(&plan.text("retry"))?;
        }
        let would = permission.is_none() && !plan.cases.is_empty();
        if permission.is_none() {
            plan.advise("retry", &args.selection, &args.actor, tool);
        }
        return Ok(match would {
            true => ExitCode::from(2),
            false if is_blocked => ExitCode::FAILURE,
            false => ExitCode::SUCCESS,
        });
    }
    report.written = true;
    let ended = release(broker, args, &plan, &mut report, tool).await;
    if args.json {
        output::json(&report)?;
    } else {
        let Report { released, settled, left, .. } = &report;
        output::data(&format!("released {released}, of which {settled} settled; {left} left\n"))?;
    }
    ended?;
    Ok(if is_blocked { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn release(
    broker: &NatsBroker,
    args: &RetryArgs,
    plan: &Plan,
    report: &mut Report,
    tool: &Tool,
) -> anyhow::Result<()> {
    let (flow, by) = (tool.flow, args.actor.by());
    let batch = format!("{}-{:08x}", plan.up_to, fastrand::u32(..));
    let audit = Audit {
        verb: "retry".to_owned(),
        by: by.clone(),
        reason: args.actor.reason.clone(),
        parked: plan.up_to,
        selected: args.selection.words(),
        count: u64::try_from(plan.cases.len()).unwrap_or(u64::MAX),
        ..Audit::default()
    };
    send(broker, &audit_subject(flow, "retry", &batch), document(&audit), tool).await?;
    let mut pace = args.rate.map(|rate| interval(Duration::from_secs(1) / rate));
    if let Some(pace) = &mut pace {
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    }
    let mut follow =
        Follow { from: plan.up_to + 1, on_their_way: BTreeMap::new(), told: String::new() };
    let (mut looked, mut said) = (Instant::now(), Instant::now());
    for case in &plan.cases {
        if let Some(pace) = &mut pace {
            pace.tick().await;
        }
        let release = Release {
            verdict: Verdict::Retry,
            by: by.clone(),
            reason: args.actor.reason.clone(),
            parked: case.newest().sequence,
            batch: batch.clone(),
        };
        let saga = case.saga.as_ref().expect("left out otherwise");
        let payload = serde_json::to_vec(&release)?;
        let sequence = send(broker, &flow.released(&case.durable, saga), payload, tool).await?;
        report.released += 1;
        report.left -= 1;
        follow.add(case, sequence, tool);
        // The first one goes alone: if it is parked again, the others would be, too.
        let alone = report.released == 1 && plan.cases.len() > 1;
        if alone {
            until_settled(broker, &mut follow, report, tool).await?;
        } else if looked.elapsed() >= LOOK_EVERY {
            follow.look(broker, report, tool).await?;
            looked = Instant::now();
        }
        if said.elapsed() >= SAY_EVERY {
            tell(report, &mut follow, tool);
            said = Instant::now();
        }
    }
    if args.no_wait { Ok(()) } else { until_settled(broker, &mut follow, report, tool).await }
}

fn tell(report: &Report, follow: &mut Follow, tool: &Tool) {
    if let Some(text) = follow.news(report) {
        tool.ui.note(tool.ui.on_stderr.paint(QUIET, text));
    }
}

async fn until_settled(
    broker: &NatsBroker,
    follow: &mut Follow,
    report: &mut Report,
    tool: &Tool,
) -> anyhow::Result<()> {
    let mut said = Instant::now();
    loop {
        follow.look(broker, report, tool).await?;
        if follow.on_their_way.is_empty() {
            return Ok(());
        }
        if said.elapsed() >= SAY_EVERY {
            tell(report, follow, tool);
            said = Instant::now();
        }
        sleep(LOOK_EVERY).await;
    }
}

/// The releases whose end is not known.
struct Follow {
    /// Where on the stream of parked messages it has not looked yet.
    from: u64,
    /// By the subject under which it would be parked again: its release, and where its end is
    /// found.
    on_their_way: BTreeMap<String, (u64, Vec<String>)>,
    /// What was said last.
    told: String,
}

impl Follow {
    fn add(&mut self, case: &Case, release: u64, tool: &Tool) {
        let flow = tool.flow;
        let parked = parked::subject(flow, &case.durable, case.saga.as_ref());
        self.on_their_way.insert(parked, (release, case.decisive(flow)));
    }

    /// How far it is, unless that was said last.
    fn news(&mut self, report: &Report) -> Option<String> {
        let Report { released, settled, left, .. } = report;
        let text = format!("released {released}, settled {settled}, left {left}{}", self.waits());
        (text != self.told).then(|| self.told.clone_from(&text))?;
        Some(text)
    }

    /// For what it waits: `; waits for book-hotel to settle T1 (and 2 more); …`.
    fn waits(&self) -> String {
        let Some(first) = self.on_their_way.keys().next() else { return String::new() };
        let mut tokens = first.rsplit('.');
        let (id, durable) = (tokens.next().unwrap_or("-"), tokens.next().unwrap_or("-"));
        let more = match self.on_their_way.len() - 1 {
            0 => String::new(),
            more => format!(" (and {more} more)"),
        };
        format!("; waits for {durable} to settle {id}{more}; --no-wait does not wait")
    }

    /// Fails as soon as one was parked again.
    async fn look(
        &mut self,
        broker: &NatsBroker,
        report: &mut Report,
        tool: &Tool,
    ) -> anyhow::Result<()> {
        let stream = tool.flow.parked_stream();
        loop {
            // What is not answered now is asked again.
            let Ok(page) = broker.read_page(&stream, self.from, 256, Care::Fast).await else {
                break;
            };
            let Some(last) = page.messages.last() else { break };
            self.from = last.sequence + 1;
            for message in &page.messages {
                let release = self.on_their_way.get(&message.subject).map(|(release, _)| *release);
                if release.is_some_and(|release| message.sequence > release) {
                    self.on_their_way.remove(&message.subject);
                    let (what, advice) = again(&message.subject, &message.payload, tool);
                    report.parked_again.push(what);
                    if report.advice.is_empty() {
                        report.advice = advice;
                    }
                }
            }
        }
        let slots = self.on_their_way.values().flat_map(|(_, slots)| slots.clone()).collect();
        if let Ok(decided) = settled::decided(broker, tool.flow, slots).await {
            let before = self.on_their_way.len();
            self.on_their_way
                .retain(|_, (_, slots)| !slots.iter().any(|slot| decided.contains(slot)));
            report.settled += before - self.on_their_way.len();
        }
        match report.parked_again.first() {
            None => Ok(()),
            Some(first) => Err(anyhow!("parked again: {first}").advise(&report.advice)),
        }
    }
}

/// What was parked again, and what to do about it.
fn again(subject: &str, payload: &[u8], tool: &Tool) -> (String, String) {
    let id = subject.rsplit('.').next().unwrap_or_default();
    let mend = "mend the cause, then run the command without --write: what was parked again is in \
                the next set";
    match serde_json::from_slice::<Entry>(payload) {
        Ok(Entry { parked, .. }) => {
            let at = if parked.pointer.is_empty() { "" } else { " at " };
            let what = format!("{id}: {}{at}{}: {}", parked.reason, parked.pointer, parked.message);
            match parked::is_for_good(tool.flow, &parked) {
                true => (what, left_out::give_up(id, tool)),
                false => (what, mend.to_owned()),
            }
        }
        Err(_) => (id.to_owned(), mend.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_says_what_is_waited_for() {
        let mut follow = Follow { from: 1, on_their_way: BTreeMap::new(), told: String::new() };
        assert_eq!(follow.waits(), "");
        let way = |id: &str| (format!("parked.eu.shop.charge-customer-undo.{id}"), (1, Vec::new()));
        follow.on_their_way.extend([way("A1")]);
        let alone = "; waits for charge-customer-undo to settle A1; --no-wait does not wait";
        assert_eq!(follow.waits(), alone);
        follow.on_their_way.extend([way("A2"), way("A3")]);
        assert!(follow.waits().contains("settle A1 (and 2 more); "), "{}", follow.waits());
        let mut report = Report { released: 3, ..Report::default() };
        assert!(follow.news(&report).expect("news").starts_with("released 3, settled 0, left 0; "));
        assert_eq!(follow.news(&report), None, "it was said already");
        report.settled = 1;
        assert!(follow.news(&report).expect("news").starts_with("released 3, settled 1"));
    }
}
