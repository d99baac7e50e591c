//! The frame of a tool: the flags that every tool has, its name, and what each command is given.

use std::path::Path;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use quadrille::{Flow, SagaId};

use crate::connect::{Connection, DefaultBroker, Target, connect};
use crate::output::{self, Ui};

/// What every command is given.
#[derive(Debug)]
pub struct Tool {
    pub flow: &'static Flow,
    pub target: Target,
    pub default_broker: DefaultBroker,
    pub ui: Ui,
    line: clap::Command,
}

#[derive(Debug, Parser)]
struct Line<C: Subcommand> {
    /// Print no colours, not even on a terminal
    #[arg(long, global = true, env = "NO_COLOR", hide_env = true, display_order = 1_000)]
    #[arg(action = clap::ArgAction::SetTrue, value_parser = is_set)]
    no_color: bool,
    #[command(flatten)]
    target: Target,
    #[command(subcommand)]
    command: C,
}

/// Any text but an empty one turns colours off: the convention of NO_COLOR.
#[expect(clippy::unnecessary_wraps, reason = "the form of a value parser")]
fn is_set(text: &str) -> Result<bool, std::convert::Infallible> {
    Ok(!text.is_empty() && text != "false")
}

/// The command line of a tool `name` with the commands `C`. `{tool}` stands for the name in
/// `examples`, and in the texts after the help of each command.
pub fn line<C: Subcommand>(name: &'static str, examples: &str) -> clap::Command {
    let line = Line::<C>::command().name(name).max_term_width(100).after_help(examples.to_owned());
    call_by_name(line, name)
}

fn call_by_name(command: clap::Command, name: &'static str) -> clap::Command {
    let named = command.get_after_help().map(|text| text.to_string().replace("{tool}", name));
    let command = match named {
        Some(text) => command.after_help(text),
        None => command,
    };
    command.mut_subcommands(|inner| call_by_name(inner, name))
}

/// `main` of a tool: reads the command line, and does what it says. `line` makes the command line
/// under the name of the program, with [`line()`]; `act` runs a command. A command that names no
/// broker talks to the one that `default_broker` finds.
///
/// One thread, which lives as long as the process, because a child tied to this process dies with
/// the thread that started it.
pub fn run<C: Subcommand>(
    flow: &'static Flow,
    default_broker: DefaultBroker,
    line: impl FnOnce(&'static str) -> clap::Command,
    act: impl AsyncFnOnce(C, &Tool) -> anyhow::Result<ExitCode>,
) -> ExitCode {
    let name = name();
    let line = with_names_of(flow, line(name));
    let ui = |no_color| Ui::new(as_typed(name), no_color);
    let leave =
        |error: clap::Error| -> ! { output::leave(&without_hidden(error, &line), ui(false)) };
    let matches = line.clone().try_get_matches().unwrap_or_else(|error| leave(error));
    let on_the_line = Target::of_the_line(&matches);
    let parsed = Line::<C>::from_arg_matches(&matches).and_then(|parsed| {
        if ["--nats", "--context"].iter().all(|flag| on_the_line.contains(flag)) {
            let both = "--nats and --context name a broker each: give one of them\n";
            return Err(line.clone().error(ErrorKind::ArgumentConflict, both));
        }
        Ok(parsed)
    });
    let Line { no_color, mut target, command } = parsed.unwrap_or_else(|error| leave(error));
    target.on_the_line = on_the_line;
    let ui = ui(no_color);
    let tool = Tool { flow, target, default_broker, ui, line };
    quadrille::telemetry::hide_panics_of_the_client();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ended = runtime.map_err(anyhow::Error::from);
    let ended = ended.and_then(|runtime| runtime.block_on(act(command, &tool)));
    ended.unwrap_or_else(|error| {
        ui.error(&error);
        ExitCode::FAILURE
    })
}

/// The error without the names of hidden commands, which it would offer like any other, and without
/// a tip that is wrong.
fn without_hidden(mut error: clap::Error, line: &clap::Command) -> clap::Error {
    let is_shown =
        |name: &String| line.find_subcommand(name).is_none_or(|command| !command.is_hide_set());
    for offers in [ContextKind::ValidSubcommand, ContextKind::SuggestedSubcommand] {
        if let Some(ContextValue::Strings(mut names)) = error.remove(offers) {
            names.retain(is_shown);
            if !names.is_empty() {
                error.insert(offers, ContextValue::Strings(names));
            }
        }
    }
    // No argument of any command begins so: the value of a flag was meant, and `--` is no help.
    if let Some(ContextValue::StyledStrs(mut tips)) = error.remove(ContextKind::Suggested) {
        tips.retain(|tip| !tip.to_string().contains("as a value, use '-- "));
        if !tips.is_empty() {
            error.insert(ContextKind::Suggested, ContextValue::StyledStrs(tips));
        }
    }
    error
}

/// The variables of the flow's own names are the workers'; they hold its saga.
fn with_names_of(flow: &Flow, line: clap::Command) -> clap::Command {
    let saga = flow.saga.to_ascii_uppercase().replace('-', "_");
    let variable = |key| &*String::leak(format!("QUADRILLE_FLOW__{saga}__{key}"));
    line.mut_arg("flow_stream", |argument| argument.env(variable("STREAM")))
        .mut_arg("flow_prefix", |argument| argument.env(variable("PREFIX")))
}

/// The id of a saga, for a command that looks for one.
pub(crate) fn id(text: &str) -> Result<SagaId, String> {
    let hint = "a message under any other id was set aside: `{tool} parked ls` lists it";
    SagaId::parse(text).map_err(|error| format!("{error}; {hint}"))
}

/// Who gives a command, where nobody is named: `ann@host`.
pub(crate) fn who(user: Option<&str>) -> String {
    let system = rustix::system::uname();
    format!("{}@{}", user.unwrap_or("unknown"), system.nodename().to_string_lossy())
}

/// This program as its user has called it, because it is not always on PATH: what a hint says can
/// be pasted. It is never freed either.
fn as_typed(name: &'static str) -> &'static str {
    let first = std::env::args_os().next().and_then(|first| first.into_string().ok());
    first.filter(|first| first.contains('/')).map_or(name, |first| String::leak(first))
}

/// The name of this program's file. It is never freed, because it is needed until the end.
fn name() -> &'static str {
    let first = std::env::args_os().next().unwrap_or_default();
    let name = Path::new(&first).file_name().and_then(|name| name.to_str());
    String::leak(name.unwrap_or("tool").to_owned())
}

impl Tool {
    /// Connects to what the command line or the environment names, otherwise to the tool's own
    /// default.
    ///
    /// # Errors
    /// As [`connect`].
    pub async fn connect(&self) -> anyhow::Result<Connection> {
        connect(self.flow, &self.target, self.default_broker, self.ui).await
    }

    /// A completion script of the whole command line.
    pub(crate) fn completions(&self, shell: clap_complete::Shell) -> String {
        let mut script = Vec::new();
        // What is hidden is nothing to complete.
        let shown = self.line.get_subcommands().filter(|command| !command.is_hide_set());
        let name = self.ui.name();
        let mut line =
            clap::Command::new(name).args(self.line.get_arguments()).subcommands(shown.cloned());
        clap_complete::generate(shell, &mut line, name, &mut script);
        String::from_utf8_lossy(&script).into_owned()
    }
}
