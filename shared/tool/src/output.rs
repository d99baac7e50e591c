//! What goes where: data to stdout, the rest to stderr; colours only on a terminal.

mod table;
mod wrap;

use std::fmt::Display;
use std::io::{ErrorKind, IsTerminal, Write as _};
use std::os::fd::AsFd;

use clap::builder::styling::AnsiColor;
pub use clap::builder::styling::Style;
pub use quadrille::why::duration;

pub(crate) use table::rows_within;
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
            width: width(std::io::stdout()),
        }
    }

    /// The name of the tool, wherever it is.
    pub fn name(self) -> &'static str {
        self.tool.rsplit('/').next().unwrap_or(self.tool)
    }

    /// Prints one line to stderr, in which commands are [as called](Self::as_called); several where
    /// a terminal there is narrower.
    pub fn note(self, text: impl Display) {
        self.verbatim(within(std::io::stderr(), &self.as_called(&text.to_string())));
    }

    /// Prints one line to stderr as it is, because it is to be pasted.
    pub fn verbatim(self, text: impl Display) {
        // If stderr itself is closed, there is no way left to say so.
        let _ = writeln!(std::io::stderr(), "{text}");
    }

    /// Prints to stderr what failed, why, and what to do next.
    pub fn error(self, error: &anyhow::Error) {
        let name = self.on_stderr.paint(BAD, format!("{}:", self.name()));
        match error.downcast_ref::<Advised>() {
            Some(Advised { error, advice }) => {
                self.note(format!("{name} {error:#}\n  {advice}"));
            }
            None => self.note(format!("{name} {error:#}")),
        }
    }

    /// `advice`, in which each command of this tool begins as the user has begun this one, be it
    /// the second of a pipe: what stands between backticks can be pasted, wherever the program is.
    /// `{tool}` is the name, too, for what does not know it.
    pub fn as_called(self, advice: &str) -> String {
        let advice = advice.replace("{tool}", self.name());
        ["`", "| "].iter().fold(advice, |advice, before| {
            let [named, called] = [self.name(), self.tool].map(|tool| format!("{before}{tool} "));
            advice.replace(&named, &called)
        })
    }
}

/// Cells in a line of the terminal there, if it is one.
fn width(stream: impl AsFd) -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(stream).ok()?;
    (size.ws_col > 0).then(|| usize::from(size.ws_col))
}

/// How far a line is indented in which the one before goes on.
const HANG: usize = 2;

/// `text` in lines that the terminal there has room for; as it is where there is none.
fn within(stream: impl AsFd, text: &str) -> String {
    width(stream).map_or_else(|| text.to_owned(), |width| wrap::wrap(text, width, HANG))
}

/// `text` in lines of at most `width` cells, broken at spaces, for what nothing else breaks.
pub fn wrapped(text: &str, width: usize) -> String {
    wrap::wrap(text, width, HANG)
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

/// Prints `text` to stdout, in lines that a terminal there has room for; a reader that has seen
/// enough (`| head`) is not an error.
///
/// # Errors
/// When stdout takes no text for another reason.
pub fn data(text: &str) -> anyhow::Result<()> {
    raw(&within(std::io::stdout(), text))
}

/// Prints `text` to stdout as it is.
///
/// # Errors
/// As [`data`].
pub fn raw(text: &str) -> anyhow::Result<()> {
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
    raw(&format!("{}\n", serde_json::to_string(value)?))
}

/// JSON with spaces behind commas and colons, so that a terminal's lines can be broken there.
pub fn spaced(value: &serde_json::Value) -> String {
    struct Spaced;
    impl serde_json::ser::Formatter for Spaced {
        fn begin_array_value<W>(&mut self, writer: &mut W, first: bool) -> std::io::Result<()>
        where
            W: ?Sized + std::io::Write,
        {
            if first { Ok(()) } else { writer.write_all(b", ") }
        }

        fn begin_object_key<W>(&mut self, writer: &mut W, first: bool) -> std::io::Result<()>
        where
            W: ?Sized + std::io::Write,
        {
            if first { Ok(()) } else { writer.write_all(b", ") }
        }

        fn begin_object_value<W>(&mut self, writer: &mut W) -> std::io::Result<()>
        where
            W: ?Sized + std::io::Write,
        {
            writer.write_all(b": ")
        }
    }
    let mut text = Vec::new();
    let mut into = serde_json::Serializer::with_formatter(&mut text, Spaced);
    serde::Serialize::serialize(value, &mut into).expect("a value always serialises");
    String::from_utf8_lossy(&text).into_owned()
}

/// Ends this process with what the parser of the command line says, in lines that fit.
pub(crate) fn leave(error: &clap::Error, ui: Ui) -> ! {
    let is_seen = match error.use_stderr() {
        true => std::io::stderr().is_terminal(),
        false => std::io::stdout().is_terminal(),
    };
    if !is_seen && error.use_stderr() {
        eprint!("{}", ui.as_called(&error.render().to_string()));
        std::process::exit(error.exit_code());
    }
    if !is_seen {
        error.exit();
    }
    let text = wrap::paragraphs(&error.render().ansi().to_string());
    let text = if error.use_stderr() { ui.as_called(&text) } else { text };
    let within = |width| wrap::wrap(&text, width, 0);
    if error.use_stderr() {
        let text = width(std::io::stderr()).map_or_else(|| text.clone(), within);
        let _ = write!(std::io::stderr(), "{text}");
    } else {
        let _ = raw(&width(std::io::stdout()).map_or_else(|| text.clone(), within));
    }
    std::process::exit(error.exit_code());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_in_an_advice_begins_as_the_user_has_begun_this_one() {
        let ui = Ui::new("target/release/trip", true);
        let advice = "`trip open` lists them, not `strip open`; trip itself is no command";
        let called = "`target/release/trip open` lists them, not `strip open`; trip itself is no \
                      command";
        assert_eq!(ui.as_called(advice), called);
        assert_eq!(ui.as_called(called), called, "once is enough");
        let pipe = "`gunzip -c trip | trip book -`; `{tool} why A1`";
        let called = "`gunzip -c trip | target/release/trip book -`; `target/release/trip why A1`";
        assert_eq!(ui.as_called(pipe), called);
    }

    #[test]
    fn json_can_be_broken_into_lines_behind_each_comma_and_colon() {
        let value = serde_json::json!({ "a": [1, "x,y:z"], "b": {} });
        assert_eq!(spaced(&value), r#"{"a": [1, "x,y:z"], "b": {}}"#);
    }

    #[test]
    fn durations_have_a_unit_that_fits() {
        let seen = [0.4, 12.3, 3_210.0, 125_000.0, 3_700_000.0].map(duration);
        assert_eq!(seen, ["0.4 ms", "12 ms", "3.2 s", "2m 5s", "1h 1m"]);
    }
}
