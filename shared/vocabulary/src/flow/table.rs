//! The flow as a table of its subjects: what each holds, who writes it, and which durable it wakes.

use super::picture::short;
use super::{Flow, Row};

impl Flow {
    /// A Markdown table, a row for each slot, the opening first.
    pub fn table(&self) -> String {
        let mut lines = vec![
            "| subject | holds | written by | wakes |".to_owned(),
            "|---|---|---|---|".to_owned(),
        ];
        let mut slots: Vec<&str> = Vec::new();
        for (slot, _) in self.events() {
            if !slots.contains(&slot) {
                slots.push(slot);
                lines.push(self.table_line(slot));
            }
        }
        lines.join("\n") + "\n"
    }

    fn table_line(&self, slot: &str) -> String {
        let events = self.events();
        let events = events.iter().filter(|(holds, _)| *holds == slot);
        let events: Vec<_> = events.map(|(_, event)| code(short(event))).collect();
        let filter = self.filter(slot);
        let durables = self.durables(None);
        let woken = durables.iter().filter(|durable| durable.filters.contains(&filter));
        let woken: Vec<_> = woken.map(|durable| code(&durable.name)).collect();
        let (events, woken) = (events.join(", "), woken.join(", "));
        format!("| {} | {events} | {} | {woken} |", code(&filter), self.writer(slot))
    }

    fn writer(&self, slot: &str) -> String {
        let owns = |row: &&Row| {
            row.slot == slot
                || row.pivot.is_some_and(|pivot| pivot.slot == slot)
                || row.undo.is_some_and(|undo| undo.slot == slot)
        };
        match self.steps.iter().find(owns) {
            Some(row) => code(row.worker),
            None if slot == self.opens.slot => "a client that you trust".to_owned(),
            None if self.cancels().is_some_and(|cancels| cancels.asked.slot == slot) => {
                "a client".to_owned()
            }
            None if self.cancels().is_some_and(|cancels| cancels.refused.slot == slot) => {
                code(self.closing().worker)
            }
            None => "the worker that refuses or stops".to_owned(),
        }
    }
}

fn code(text: &str) -> String {
    format!("`{text}`")
}
