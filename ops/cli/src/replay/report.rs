//! What a replay prints: each order that differs, with both events beside each other, and a
//! verdict.

use std::process::ExitCode;
use std::time::Duration;

use quadrille_tool::output::{self, BAD, GOOD, Ui};
use serde_json::{Value, json};

use super::compare::Difference;
use super::tale::{Tale, Told};

/// Differences that are printed for people; JSON has all.
const SHOWN: usize = 20;

/// The outcome of a replay.
#[derive(Debug)]
pub(super) struct Report {
    json: bool,
    same: u64,
    differs: u64,
    left_out: u64,
    differences: Vec<String>,
    /// How long the orders took in the log, from the first opening to the last event.
    recorded: Duration,
    took: Duration,
}

impl Report {
    pub(super) fn new(recorded: Duration, json: bool) -> Self {
        let (differences, took) = (Vec::new(), Duration::ZERO);
        Self { json, same: 0, differs: 0, left_out: 0, differences, recorded, took }
    }

    /// Whether an order can be compared; counts one that cannot.
    pub(super) fn takes(&mut self, tale: &Tale) -> bool {
        let left_out = tale.was_ended_from_outside();
        self.left_out += u64::from(left_out);
        !left_out
    }

    pub(super) fn add(&mut self, tale: &Tale, found: Option<Difference>) -> anyhow::Result<()> {
        let Some(Difference { slot, recorded, now }) = found else {
            self.same += 1;
            return Ok(());
        };
        self.differs += 1;
        if self.json {
            return output::json(&json!({
                "order": tale.id.as_str(),
                "slot": slot,
                "recorded": recorded.as_ref().map(document),
                "now": now.as_ref().map(document),
            }));
        }
        if self.differences.len() < SHOWN {
            let sides = sides(&slot, recorded.as_ref(), now.as_ref(), true);
            self.differences.push(format!("order {}\n{sides}", tale.id));
        }
        Ok(())
    }

    pub(super) fn took(self, took: Duration) -> Self {
        Self { took, ..self }
    }

    pub(super) fn tell(&self, json: bool, ui: Ui) -> anyhow::Result<ExitCode> {
        let Self { same, differs, left_out, recorded, took, .. } = self;
        let (seconds, span) = (took.as_secs_f64(), recorded.as_secs_f64());
        if json {
            output::json(&json!({
                "orders": same + differs, "same": same, "different": differs,
                "left_out": left_out, "took_s": seconds, "recorded_s": span,
            }))?;
        } else {
            let paint = ui.on_stdout;
            let mut text = self.differences.concat();
            let more = *differs - self.differences.len() as u64;
            if more > 0 {
                text.push_str(&format!("and {more} more\n"));
            }
            let verdict = match differs {
                0 => paint.paint(GOOD, "no difference"),
                _ => paint.paint(BAD, format!("{differs} DIFFER")),
            };
            text.push_str(&format!(
                "{verdict}: {} orders were replayed in {seconds:.1} s, and {same} ended as in the \
                 log, where they took {span:.1} s\n",
                same + differs
            ));
            if *left_out > 0 {
                text.push_str(&format!(
                    "{left_out} were left out: they were ended from outside, by a cancellation or \
                     a deadline\n"
                ));
            }
            output::data(&text)?;
        }
        Ok(if *differs == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn document(told: &Told) -> Value {
    json!({ "type": told.event_type, "source": told.source, "data": told.data })
}

/// Two events beside each other: first the log's, then that of the replay; marked if they differ.
pub(super) fn sides(
    slot: &str,
    recorded: Option<&Told>,
    now: Option<&Told>,
    differ: bool,
) -> String {
    let line = |told: Option<&Told>| match told {
        // As clients write them that add no envelope.
        Some(told) if told.event_type.is_empty() => "a body without a type".to_owned(),
        Some(Told { event_type, source, data, .. }) => {
            format!("{event_type} by {source}  {}", output::spaced(data))
        }
        None => "nothing".to_owned(),
    };
    let mark = if differ { '≠' } else { ' ' };
    format!("{mark} {slot}\n    log     {}\n    replay  {}\n", line(recorded), line(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_events_fit_a_terminal_and_are_marked_where_they_count_as_different() {
        let told = |payment: &str| Told {
            sequence: 3,
            event_type: "payment.charged.v1".into(),
            source: "charge-customer".into(),
            data: json!({ "amount": { "amount": 3000, "currency": "EUR" }, "payment": payment,
                "pieces": 12, "ship_to": { "country": "DE", "postcode": "10115" } }),
        };
        let (log, now) = (told("pi_1"), told("pi_2"));
        let same = sides("payment", Some(&log), Some(&now), false);
        assert!(!same.contains('≠'), "{same}");
        let bare = Told { event_type: String::new(), source: String::new(), ..told("pi_1") };
        let told_of = sides("cancel", Some(&bare), None, false);
        assert!(told_of.contains("log     a body without a type"), "{told_of}");
        let shown = output::wrapped(&sides("payment", Some(&log), None, true), 80);
        assert!(shown.starts_with("≠ payment\n"), "{shown}");
        let wide: Vec<_> = shown.lines().filter(|line| line.chars().count() > 80).collect();
        assert_eq!(wide, Vec::<&str>::new());
    }
}
