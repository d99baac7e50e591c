//! The flow as the README draws it.

use super::Flow;

impl Flow {
    /// A Mermaid flowchart: forward arrows solid, undo arrows dotted and backwards.
    pub fn picture(&self) -> String {
        let mut lines = vec!["flowchart LR".to_owned()];
        lines.push(format!("    {0}([{0}])", self.opens.slot));
        for step in self.steps {
            let before = self.decides(step.on);
            let from = before.map_or(self.opens.slot, |before| before.worker);
            let label = short(before.map_or(self.opens.event, |before| before.done));
            let pivot = step.pivot.map(|pivot| format!(", then {}", short(pivot.go)));
            lines.push(format!(
                "    {from} -->|{label}{}| {}",
                pivot.unwrap_or_default(),
                step.worker
            ));
        }
        let end = self.closing();
        lines.push(format!("    {} --> {}([{}])", end.worker, end.slot, short(end.done)));
        self.draw_undo(&mut lines);
        lines.join("\n") + "\n"
    }

    /// Every refusal gives the signal, which wakes each undo; the undos then run one after another,
    /// from the last step to the first.
    fn draw_undo(&self, lines: &mut Vec<String>) {
        let signal = self.turns.slot;
        for row in self.steps {
            if let Some(refused) = row.refused {
                lines.push(format!("    {} -.->|{}| {signal}", row.worker, short(refused)));
            }
        }
        lines.push(format!("    {signal}([{}])", short(self.turns.event)));
        let mut undoable: Vec<_> = self.undoable().collect();
        undoable.reverse();
        for row in &undoable {
            lines.push(format!("    {signal} -.-> {}", row.worker));
        }
        for (at, row) in undoable.iter().enumerate() {
            let events = row.undo.iter().flat_map(|undo| undo.events);
            let label = events.map(|event| short(event)).collect::<Vec<_>>().join(" or ");
            let to = undoable.get(at + 1).map_or("cancelled", |before| before.worker);
            lines.push(format!("    {} -.->|{label}| {to}", row.worker));
        }
        if let Some(cancelled) = self.closing().cancelled {
            lines.push(format!("    cancelled([{}])", short(cancelled)));
        }
    }
}

/// The type without its version.
pub(super) fn short(event: &str) -> &str {
    event.rsplit_once(".v").map_or(event, |(name, _)| name)
}
