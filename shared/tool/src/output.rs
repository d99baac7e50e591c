//! What goes where: data to stdout, the rest to stderr; colours only on a terminal.

mod table;

use std::fmt::Display;
use std::io::{ErrorKind, IsTerminal, Write as _};

use clap::builder::styling::AnsiColor;
pub use clap::builder::styling::Style;

pub use table::{table, table_within};

/// What stderr and stdout can show, and the name of the tool that writes there.
#[derive(Debug, Clone, Copy)]
pub struct Ui {
    /// As its user has called it: `quadrille`, or `target/release/quadrille`.
    pub tool: &'static str,
    pub on_stdout: Paint,
    pub on_stderr: Paint,
    /// A person looks at stderr: progress may be drawn there.
    pub watched: bool,
    /// A person looks at stdout: a summary is better there than a thousand lines.
    pub read_by_a_person: bool,
    /// Cells in a line of the terminal at stdout.
    pub width: Option<usize>,
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
            width: width(),
        }
    }

    /// The name of the tool, wherever it is.
    pub fn name(self) -> &'static str {
        self.tool.rsplit('/').next().unwrap_or(self.tool)
    }

    /// Prints one line to stderr.
    pub fn note(self, text: impl Display) {
        // If stderr itself is closed, there is no way left to say so.
        let _ = writeln!(std::io::stderr(), "{text}");
    }

    /// Prints to stderr what failed, why, and what to do next.
    pub fn error(self, error: &anyhow::Error) {
        let name = self.on_stderr.paint(BAD, format!("{}:", self.name()));
        match error.downcast_ref::<Advised>() {
            Some(Advised { error, advice }) => self.note(format!("{name} {error:#}\n  {advice}")),
            None => self.note(format!("{name} {error:#}")),
        }
    }
}

/// Of the terminal at stdout, if there is one.
fn width() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
    (size.ws_col > 0).then(|| usize::from(size.ws_col))
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
    fn durations_have_a_unit_that_fits() {
        let seen = [0.4, 12.3, 3_210.0, 125_000.0, 3_700_000.0].map(duration);
        assert_eq!(seen, ["0.4 ms", "12 ms", "3.2 s", "2m 5s", "1h 1m"]);
    }
}
