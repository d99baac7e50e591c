//! What a call would do: fixed before anything is done, and printed with the call that does it.

use anyhow::{anyhow, bail};
use quadrille::Flow;
use quadrille::broker::{Broker, Published, Unknown};
use quadrille::log::parked::Audit;
use quadrille::nats::NatsBroker;
use tokio::time::{Duration, Instant, sleep};

use super::cases::{Case, Cases, Standing};
use super::list::{groups, nothing_of};
use super::{Actor, Selection};
use crate::output::{Advise, QUIET};
use crate::tool::Tool;

/// How long a publish without an answer is repeated; a release that is stored twice runs once.
const PATIENCE: Duration = Duration::from_secs(15);

/// The messages that a command is about.
pub(super) struct Plan {
    /// The oldest first.
    pub(super) cases: Vec<Case>,
    /// None of them was parked later.
    pub(super) up_to: u64,
    /// Named, and decided already.
    pub(super) settled: Vec<Case>,
    /// Of the selection, on their way already.
    pub(super) released: usize,
    /// Of the selection, beyond the limit.
    pub(super) beyond: usize,
}

/// Picks what a selection names.
pub(super) fn plan(cases: Cases, selection: &Selection, tool: &Tool) -> anyhow::Result<Plan> {
    let up_to = selection.up_to.unwrap_or(cases.end);
    let mut plan = Plan { cases: Vec::new(), up_to, settled: Vec::new(), released: 0, beyond: 0 };
    for name in &selection.ids {
        if !cases.all.iter().any(|case| case.is_called(name)) {
            bail!(nothing_of(name, tool));
        }
    }
    if let Some(group) = &selection.group
        && !cases.all.iter().any(|case| case.parked().fingerprint() == *group)
    {
        bail!(no_group(group, &cases, tool));
    }
    for case in cases.all {
        let is_named = selection.ids.iter().any(|name| case.is_called(name));
        let in_group = |group: &String| case.parked().fingerprint() == *group;
        let wanted = is_named || selection.all || selection.group.as_ref().is_some_and(in_group);
        if !wanted || case.newest().sequence > up_to {
            continue;
        }
        match case.standing {
            Standing::Parked if selection.limit.is_some_and(|most| plan.cases.len() >= most) => {
                plan.beyond += 1;
            }
            Standing::Parked => plan.cases.push(case),
            // A person who names it may have a reason to try once more.
            Standing::Released | Standing::Discarded if is_named && case.waits() => {
                plan.cases.push(case);
            }
            Standing::Released => plan.released += 1,
            Standing::Settled if is_named => plan.settled.push(case),
            Standing::Discarded if is_named => {
                tool.ui.note(format!("{}: discarded already; nothing is changed", case.name()));
            }
            Standing::Settled | Standing::Discarded => {}
        }
    }
    Ok(plan)
}

/// What is said of a group that was never there, with those that are.
fn no_group(group: &str, cases: &Cases, tool: &Tool) -> anyhow::Error {
    let there = groups(cases.all.iter().filter(|case| case.waits()));
    let named = there.iter().take(10).map(|one| format!("{} ({})", one.fingerprint, one.durable));
    let named = match there.len() {
        0 => "nothing waits".to_owned(),
        _ => format!("those that wait: {}", named.collect::<Vec<_>>().join(", ")),
    };
    anyhow!("there is no group {group}")
        .advise(format!("{named}; `{} parked ls` lists them", tool.ui.tool))
}

impl Plan {
    /// What it is about, a line for each group.
    pub(super) fn text(&self, verb: &str) -> String {
        if self.cases.is_empty() {
            return format!("nothing to {verb}\n");
        }
        let count = self.cases.len();
        let messages = if count == 1 { "message" } else { "messages" };
        let mut text = format!("to {verb}: {count} {messages}, parked up to #{}\n", self.up_to);
        for group in groups(self.cases.iter()) {
            let place = match group.pointer.as_str() {
                "" => String::new(),
                pointer => format!(" at {pointer}"),
            };
            text.push_str(&format!(
                "  {} {} of {}: {}{place}, such as {}\n",
                group.fingerprint,
                group.count,
                group.durable,
                group.reason,
                group.sagas.first().map_or("-", String::as_str),
            ));
        }
        text
    }

    /// Says what is left out, and how to do the rest.
    pub(super) fn advise(&self, verb: &str, selection: &Selection, actor: &Actor, tool: &Tool) {
        let quiet = |text: String| tool.ui.note(tool.ui.on_stderr.paint(QUIET, text));
        if self.released > 0 {
            quiet(format!("{} more are on their way already", self.released));
        }
        if self.beyond > 0 {
            quiet(format!("{} more are beyond --limit", self.beyond));
        }
        if !self.cases.is_empty() {
            let (tool, reason) = (tool.ui.tool, &actor.reason);
            let what = selection.words();
            let limit = selection.limit.map_or_else(String::new, |most| format!(" --limit {most}"));
            quiet(format!(
                "nothing is changed: `{tool} parked {verb} {what} --up-to {}{limit} --reason \
                 '{reason}' --write` does it",
                self.up_to
            ));
        }
    }
}

/// As a shell takes it for one word: whoever may publish chooses what a subject holds.
fn quoted(word: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    match word.bytes().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

impl Selection {
    /// As it is typed.
    pub(super) fn words(&self) -> String {
        match &self.group {
            Some(group) => format!("--group {group}"),
            None if self.all => "--all".to_owned(),
            None => self.ids.iter().map(|id| quoted(id)).collect::<Vec<_>>().join(" "),
        }
    }

    /// A change of more than the messages that are named needs the set to be fixed.
    pub(super) fn check(&self, verb: &str, tool: &Tool) -> anyhow::Result<()> {
        if self.ids.is_empty() && self.up_to.is_none() {
            let (tool, words) = (tool.ui.tool, self.words());
            bail!(anyhow!("--write needs --up-to here, so that nothing parked later is taken")
                .advise(format!(
                    "run `{tool} parked {verb} {words} --reason TEXT` first: it says what would be \
                     done, and prints the whole call"
                )));
        }
        Ok(())
    }
}

/// Stores a message on the stream of parked messages, and says under which sequence.
pub(super) async fn send(
    broker: &NatsBroker,
    subject: &str,
    payload: Vec<u8>,
    tool: &Tool,
) -> anyhow::Result<u64> {
    let give_up = Instant::now() + PATIENCE;
    loop {
        let why =
            match broker.publish(subject, payload.clone().into()).await {
                Published::Stored { sequence } => return Ok(sequence),
                Published::Unknown(Unknown::Full) => {
                    bail!(anyhow!("{subject} was not stored: the stream is full").advise(format!(
                        "raise its size: `{} topology apply` says how",
                        tool.ui.tool
                    )))
                }
                Published::Rejected { code, description } => {
                    bail!("the broker refuses {subject} ({code}): {description}")
                }
                Published::TooLarge => bail!("the broker refuses {subject}: it is too large"),
                Published::Unknown(Unknown::Busy) | Published::Conflict => "busy".to_owned(),
                Published::Unknown(Unknown::NoAnswer(why)) => why,
            };
        if Instant::now() >= give_up {
            bail!(
                anyhow!("no answer says whether {subject} was stored: {why}")
                    .advise("run the command again: that is safe")
            );
        }
        sleep(Duration::from_millis(100)).await;
    }
}

/// The subject of an audit event; `id` is a saga's, or the batch's.
pub(super) fn audit_subject(flow: &Flow, verb: &str, id: &str) -> String {
    format!("audit.{}.{verb}.{id}", flow.subjects)
}

pub(super) fn document(audit: &Audit) -> Vec<u8> {
    serde_json::to_vec(audit).expect("words and numbers serialise")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_takes_a_subject_of_a_stranger_for_one_word() {
        for word in ["A123", "orders.placed.N:7", "orders.placed.$(reboot)", "a';ls;'", "`x`|y"] {
            let said = std::process::Command::new("sh")
                .args(["-c", &format!("printf %s {}", quoted(word))])
                .output()
                .unwrap();
            assert_eq!(String::from_utf8(said.stdout).unwrap(), word);
        }
        assert_eq!(quoted("A123"), "A123");
    }
}
