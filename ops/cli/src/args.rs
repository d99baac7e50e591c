//! The command line as a whole; each command's own part is beside its code.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::{dev, place, stock, topology, trace};

const EXAMPLES: &str = "\
Examples:
  quadrille dev                          everything on this machine, with demo orders
  quadrille place                        place the sample order
  quadrille trace A123                   the whole story of one order
  quadrille topology plan                what the broker lacks
  quadrille stock show --json            what is in stock, for a script

Exit codes: 0 done; 1 failed, or something is not as it should be; 2 wrong usage, or changes are
pending (topology).";

/// Run, watch and provision order sagas on NATS JetStream
#[derive(Debug, Parser)]
#[command(name = "quadrille", version, after_help = EXAMPLES, max_term_width = 100)]
pub(crate) struct Cli {
    /// Print without colours; they appear on a terminal only
    #[arg(long, global = true, env = "NO_COLOR", hide_env = true, display_order = 1_000)]
    #[arg(action = clap::ArgAction::SetTrue, value_parser = is_set)]
    pub(crate) no_color: bool,
    #[command(flatten)]
    pub(crate) target: Target,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Any text but an empty one: the convention of NO_COLOR.
#[expect(clippy::unnecessary_wraps, reason = "the form of a value parser")]
fn is_set(text: &str) -> Result<bool, std::convert::Infallible> {
    Ok(!text.is_empty() && text != "false")
}

/// Which broker.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Broker")]
pub(crate) struct Target {
    /// The broker: nats://host:port, several separated by commas. Without it: a `quadrille dev`
    /// that runs in this folder or above it, else nats://127.0.0.1:4222
    #[arg(long, global = true, env = "QUADRILLE_NATS__URL", value_name = "URL")]
    pub(crate) nats: Option<String>,
    /// A `.creds` file to log in with
    #[arg(long, global = true, env = "QUADRILLE_NATS__CREDENTIALS", value_name = "FILE")]
    pub(crate) creds: Option<PathBuf>,
    /// A saved context of the `nats` command, instead of a URL
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// Where contexts are saved, where it is not ~/.config
    #[arg(long, global = true, env = "XDG_CONFIG_HOME", hide = true)]
    pub(crate) config_home: Option<PathBuf>,
}

impl Target {
    /// The flags that lead to the same broker, each after a space; a login in a URL is left out.
    pub(crate) fn given(&self) -> String {
        let url = self.nats.as_deref().map(|url| if url.contains('@') { "URL" } else { url });
        let creds = self.creds.as_ref().map(|file| file.display().to_string());
        let flags = [
            ("--nats", url),
            ("--creds", creds.as_deref()),
            ("--context", self.context.as_deref()),
        ];
        let given = flags.into_iter().filter_map(|(flag, text)| Some(format!(" {flag} {}", text?)));
        given.collect()
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Dev(dev::DevArgs),
    Place(place::PlaceArgs),
    Trace(trace::TraceArgs),
    #[command(subcommand)]
    Topology(topology::TopologyCommand),
    #[command(subcommand)]
    Stock(stock::StockCommand),
    /// Print a completion script for a shell
    #[command(after_help = "\
Examples:
  quadrille completions bash > ~/.local/share/bash-completion/completions/quadrille
  quadrille completions zsh > ~/.zfunc/_quadrille")]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Become another program that dies with the one that started it; `dev` starts all by it
    #[command(
        hide = true,
        after_help = "Examples:\n  quadrille tied --to PID -- PROGRAM ARGUMENT…"
    )]
    Tied(dev::TiedArgs),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn each(command: &clap::Command, path: &str, check: &mut impl FnMut(&str, &clap::Command)) {
        let path = format!("{path} {}", command.get_name());
        check(path.trim(), command);
        for inner in command.get_subcommands().filter(|inner| inner.get_name() != "help") {
            each(inner, &path, check);
        }
    }

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_and_option_is_explained_and_every_command_has_an_example() {
        each(&Cli::command(), "", &mut |path, command| {
            assert!(command.get_about().is_some(), "{path} says nothing about itself");
            let help = command.get_after_help().or(command.get_after_long_help());
            let help = help.map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Examples:"), "{path} has no example");
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "{path}: {}", argument.get_id());
            }
        });
    }

    #[test]
    fn every_example_can_be_parsed() {
        let mut count = 0;
        each(&Cli::command(), "", &mut |path, command| {
            let help = command.get_after_help().or(command.get_after_long_help());
            let help = help.map(ToString::to_string).unwrap_or_default();
            for line in help.lines().filter_map(|line| line.strip_prefix("  quadrille ")) {
                let line = line.split("   ").next().unwrap_or_default();
                let line = line.split(['|', '>']).next().unwrap_or_default().trim();
                if line.contains("PROGRAM") {
                    continue;
                }
                let words = std::iter::once("quadrille").chain(line.split_whitespace());
                let parsed = Cli::try_parse_from(words);
                assert!(parsed.is_ok(), "{path}: {line}: {}", parsed.expect_err("it failed"));
                count += 1;
            }
        });
        assert!(count >= 20, "only {count} examples were found");
    }
}
