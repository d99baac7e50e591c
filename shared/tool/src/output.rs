//! What goes where: data to stdout, the rest to stderr; colours only on a terminal.

use std::fmt::{Display, Write as _};
use std::io::{ErrorKind, IsTerminal, Write as _};

use clap::builder::styling::AnsiColor;
pub use clap::builder::styling::Style;

/// What stderr and stdout can show, and the name of the tool that writes there.
#[derive(Debug, Clone, Copy)]
pub struct Ui {
    /// The name that its user types: `quadrille`.
    pub tool: &'static str,
    pub on_stdout: Paint,
    pub on_stderr: Paint,
    /// A person looks at stderr: progress may be drawn there.
    pub watched: bool,
    /// A person looks at stdout: a summary is better there than a thousand lines.
    pub read_by_a_person: bool,
}

/// Whether to colour.
#[derive(Debug, Clone, Copy)]
pub struct Paint(pub bool);

pub const GOOD: Style = AnsiColor::Green.on_default();
pub const BAD: Style = AnsiColor::Red.on_default();
pub const UNDO: Style = AnsiColor::Magenta.on_default();
pub const WAITS: Style = AnsiColor::Yellow.on_default();
pub const QUIET: Style = Style::new().dimmed();
pub const STRONG: Style = Style::new().bold();

impl Paint {
    /// `text`, in this style where colours are on.
    pub fn paint(self, style: Style, text: impl Display) -> String {
        if self.0 { format!("{style}{text}{style:#}") } else { text.to_string() }
    }
}

impl Ui {
    /// What the two streams of this process can show.
    pub fn new(tool: &'static str, no_color: bool) -> Self {
        let watched = std::io::stderr().is_terminal();
        let read_by_a_person = std::io::stdout().is_terminal();
        Self {
            tool,
            on_stdout: Paint(read_by_a_person && !no_color),
            on_stderr: Paint(watched && !no_color),
            watched,
            read_by_a_person,
        }
    }

    /// Prints one line to stderr.
    pub fn note(self, text: impl Display) {
        // If stderr itself is closed, there is no way left to say so.
        let _ = writeln!(std::io::stderr(), "{text}");
    }

    /// Prints to stderr what failed, why, and what to do next.
    pub fn error(self, error: &anyhow::Error) {
        let name = self.on_stderr.paint(BAD, format!("{}:", self.tool));
        match error.downcast_ref::<Advised>() {
            Some(Advised { error, advice }) => self.note(format!("{name} {error:#}\n  {advice}")),
            None => self.note(format!("{name} {error:#}")),
        }
    }
}

/// An error that comes with what to do about it.
#[derive(Debug)]
struct Advised {
    error: anyhow::Error,
    advice: String,
}

impl Display for Advised {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#}", self.error)
    }
}

impl std::error::Error for Advised {}

/// Errors that can say what to do about them.
pub trait Advise {
    /// Adds what to do next; the outermost advice is shown.
    fn advise(self, advice: impl Into<String>) -> anyhow::Error;
}

impl<E: Into<anyhow::Error>> Advise for E {
    fn advise(self, advice: impl Into<String>) -> anyhow::Error {
        Advised { error: self.into(), advice: advice.into() }.into()
    }
}

/// Prints `text` to stdout; a reader that has seen enough (`| head`) is not an error.
///
/// # Errors
/// When stdout takes no text for another reason.
pub fn data(text: &str) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Prints one JSON document in one line to stdout.
///
/// # Errors
/// As [`data`].
pub fn json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    data(&format!("{}\n", serde_json::to_string(value)?))
}

/// Lines up columns; a column whose heading starts with a space is aligned to the right.
pub fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let width = |at: usize| {
        let cells = rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count());
        cells.chain([headings[at].trim().chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..headings.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut line = String::new();
        for ((cell, width), heading) in cells.zip(&widths).zip(headings) {
            let gap = if line.is_empty() { "" } else { "  " };
            let _ = match heading.starts_with(' ') {
                true => write!(line, "{gap}{cell:>width$}"),
                false => write!(line, "{gap}{cell:<width$}"),
            };
        }
        format!("{}\n", line.trim_end())
    };
    let mut text = line(&mut headings.iter().map(|heading| heading.trim()));
    for row in rows {
        text.push_str(&line(&mut row.iter().map(String::as_str)));
    }
    text
}

/// Milliseconds as a person reads them: `0.4 ms`, `12 ms`, `3.2 s`, `2m 5s`, `1h 1m`.
pub fn duration(milliseconds: f64) -> String {
    let seconds = (milliseconds / 1_000.0).round();
    match milliseconds {
        ms if ms < 9.95 => format!("{ms:.1} ms"),
        ms if ms < 999.5 => format!("{ms:.0} ms"),
        ms if ms < 59_950.0 => format!("{:.1} s", ms / 1_000.0),
        ms if ms < 3_600_000.0 => format!("{}m {}s", (seconds / 60.0).floor(), seconds % 60.0),
        _ => format!("{}h {}m", (seconds / 3_600.0).floor(), (seconds % 3_600.0 / 60.0).floor()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_lines_up_on_both_sides() {
        let rows = [vec!["ROSE".to_owned(), "12".to_owned()], vec!["VASE-2".into(), "5".into()]];
        assert_eq!(table(&["sku", " left"], &rows), "sku     left\nROSE      12\nVASE-2     5\n");
    }

    #[test]
    fn durations_have_a_unit_that_fits() {
        let seen = [0.4, 12.3, 3_210.0, 125_000.0, 3_700_000.0].map(duration);
        assert_eq!(seen, ["0.4 ms", "12 ms", "3.2 s", "2m 5s", "1h 1m"]);
    }
}
