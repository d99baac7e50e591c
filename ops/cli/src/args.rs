//! The command line as a whole; each command's own part is beside its code.

use clap::Subcommand;
use quadrille_tool::Verb;

use crate::{audit, dev, export, orders, place, rebuild, replay, running, stock};

const EXAMPLES: &str = "\
Examples:
  quadrille dev                          everything on this machine, with demo orders
  quadrille place                        place the sample order
  quadrille trace A123                   the whole story of one order
  quadrille why A123                     what it waits for, and what to do
  quadrille cancel A123                  take an order back, as long as it is not shipped
  quadrille parked ls                    what was set aside, and why
  quadrille open                         what is open, longest wait first, from the log itself
  quadrille orders ls --customer cus_1   orders by anything, from a query worker
  quadrille topology plan                what the broker lacks
  quadrille breaker show                 which outside services give no answer
  quadrille stock show --json            what is in stock, for a script

place, cancel and stock change what their name says, at once. topology, parked, breaker and rebuild
say first what they would do, and do it with --write.

Exit codes: 0 done; 1 failed, or something is not as it should be; 2 wrong usage, or changes are
pending (topology).";

/// The command line, for a program of this name.
pub(crate) fn line(name: &'static str) -> clap::Command {
    quadrille_tool::line::<Command>(name, EXAMPLES)
        .version(env!("CARGO_PKG_VERSION"))
        .about("Run, watch and provision order sagas on NATS JetStream")
        .mut_arg("nats", |argument| argument.help(running::NATS_HELP))
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Dev(dev::DevArgs),
    Place(place::PlaceArgs),
    #[command(subcommand)]
    Stock(stock::StockCommand),
    #[command(subcommand)]
    Orders(orders::OrdersCommand),
    Rebuild(rebuild::RebuildArgs),
    Audit(audit::AuditArgs),
    Export(export::ExportArgs),
    Replay(replay::ReplayArgs),
    #[command(flatten)]
    Verb(Verb),
    /// Become another program that dies with the one that started it, as `dev` starts its programs
    #[command(
        hide = true,
        after_help = "Examples:\n  quadrille tied --to PID -- PROGRAM ARGUMENT…"
    )]
    Tied(dev::TiedArgs),
}

#[cfg(test)]
mod tests {
    use clap::FromArgMatches;
    use clap::error::ErrorKind;

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
        line("quadrille").debug_assert();
    }

    #[test]
    fn every_command_and_option_is_explained_and_every_command_has_an_example() {
        each(&line("quadrille"), "", &mut |path, command| {
            assert!(command.get_about().is_some(), "{path} says nothing about itself");
            let help = command.get_after_help().or(command.get_after_long_help());
            let help = help.map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Examples:"), "{path} has no example");
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "{path}: {}", argument.get_id());
            }
        });
    }

    /// What is said of a line whose value cannot be read; `None` where any text would do.
    fn told_of(line: &[&str]) -> Option<String> {
        let error = super::line("quadrille").try_get_matches_from(line).err()?;
        let wrong = [ErrorKind::ValueValidation, ErrorKind::InvalidValue];
        wrong.contains(&error.kind()).then(|| error.to_string())
    }

    #[test]
    fn a_value_that_cannot_be_read_is_told_with_what_is_expected() {
        let mut count = 0;
        each(&line("quadrille"), "", &mut |path, command| {
            let path: Vec<_> = path.split(' ').collect();
            for argument in command.get_arguments().filter(|it| it.get_action().takes_values()) {
                let flag = argument.get_long().map(|long| format!("--{long}"));
                // The value of a flag, or as many as there are places.
                let values = ["x\u{7}"; 3].into_iter().take(if flag.is_some() { 1 } else { 3 });
                let given = flag.iter().map(String::as_str).chain(values);
                let line: Vec<_> = path.iter().copied().chain(given).collect();
                let Some(told) = told_of(&line) else { continue };
                let expects = ["such as ", "as in ", "[possible values: ", "one of ", " 1 to "];
                assert!(expects.iter().any(|part| told.contains(part)), "{line:?}: {told}");
                count += 1;
            }
        });
        assert!(count >= 30, "only {count} were found");
    }

    #[test]
    fn the_script_that_starts_dev_knows_its_options_and_refuses_others_before_the_build() {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../dev");
        let said = std::process::Command::new(script).arg("--bogus").output().expect("it runs");
        let said = (said.status.code(), String::from_utf8_lossy(&said.stderr).into_owned());
        assert!(said.0 == Some(2) && said.1.contains("no option --bogus"), "{said:?}");
        let line = line("quadrille");
        let dev = line.find_subcommand("dev").expect("it is there");
        // Of those that every command has, the ones that do not name a broker.
        let all = ["no_color", "flow_stream", "flow_prefix"];
        let all = line.get_arguments().filter(|it| all.contains(&it.get_id().as_str()));
        let own = dev.get_arguments().filter(|it| !it.is_hide_set()).chain(all);
        let mut own: Vec<_> = own.filter_map(|it| Some(format!("--{}", it.get_long()?))).collect();
        let known = said.1.split("there are:").nth(1).unwrap_or_default();
        let mut known: Vec<_> = known.split_whitespace().collect();
        own.sort();
        known.sort_unstable();
        assert_eq!(own, known, "OPTIONS of ops/dev");
    }

    #[test]
    fn every_example_can_be_parsed() {
        let mut count = 0;
        each(&line("quadrille"), "", &mut |path, command| {
            let help = command.get_after_help().or(command.get_after_long_help());
            let help = help.map(ToString::to_string).unwrap_or_default();
            for line in help.lines().filter_map(|line| line.strip_prefix("  quadrille ")) {
                let line = line.split("   ").next().unwrap_or_default();
                // What a usual terminal breaks cannot be copied.
                let width = "  quadrille ".len() + line.chars().count();
                assert!(width <= 80, "{path}: {width} columns: {line}");
                let line = line.split(['|', '>']).next().unwrap_or_default().trim();
                if line.contains("PROGRAM") {
                    continue;
                }
                let words = line.split_whitespace().map(|word| word.trim_matches('\''));
                let words = std::iter::once("quadrille").chain(words);
                let parsed = super::line("quadrille").try_get_matches_from(words);
                // A parser of another type than its field's is found only as the field is filled.
                let parsed = parsed.and_then(|matches| Command::from_arg_matches(&matches));
                assert!(parsed.is_ok(), "{path}: {line}: {}", parsed.expect_err("it failed"));
                count += 1;
            }
        });
        assert!(count >= 20, "only {count} examples were found");
    }
}
