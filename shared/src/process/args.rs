//! The command line of a process.

use std::future::Future;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser};

use super::{Printed, Process, health};
use crate::config::Sources;
use crate::{Flow, telemetry};

const EXAMPLES: &str =
    "Settings come from defaults, the file, the environment and flags; each overrides \
those before it:
  WORKER --set nats.url=nats://127.0.0.1:4222 --set worker.concurrency=8
  QUADRILLE_NATS__URL=nats://nats:4222 QUADRILLE_LOG__FORMAT=json WORKER
  WORKER --config quadrille.toml
  WORKER --print-settings                   all of them, and where each value came from";

/// One step of a saga, as a process.
#[derive(Parser)]
#[command(version, after_help = EXAMPLES)]
struct Command {
    /// A TOML file of settings
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Sets one setting; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Prints each setting, its value and where that came from, without secrets, and exits
    #[arg(long, conflicts_with = "healthcheck")]
    print_settings: bool,
    /// Asks the worker that runs with these settings whether it is ready, and exits
    #[arg(long)]
    healthcheck: bool,
}

pub(super) fn run<F>(
    flow: &'static Flow,
    name: &'static str,
    build: impl FnOnce(Process) -> F,
) -> ExitCode
where
    F: Future<Output = anyhow::Result<()>>,
{
    let matches = Command::command().name(name).get_matches();
    let command = Command::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let mut logs_are_json = false;
    match begin(flow, name, &command, build, &mut logs_are_json) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let error = format!("{error:#}");
            if logs_are_json && !command.healthcheck {
                tracing::error!(worker = name, error, "the process ends");
            } else {
                eprintln!("{}", within(&format!("{name}: {error}")));
            }
            ExitCode::FAILURE
        }
    }
}

/// Cells in a line of an error.
const LINE: usize = 90;

/// `text` in lines of at most so many cells, broken at spaces; each goes on further in.
fn within(text: &str) -> String {
    let mut lines = Vec::new();
    for line in text.lines() {
        let begin = " ".repeat(line.len() - line.trim_start().len());
        let mut made = String::new();
        for word in line.split_whitespace() {
            if made.is_empty() {
                made = format!("{begin}{word}");
            } else if made.chars().count() + 1 + word.chars().count() <= LINE {
                made = format!("{made} {word}");
            } else {
                lines.push(std::mem::replace(&mut made, format!("{begin}    {word}")));
            }
        }
        lines.push(made);
    }
    lines.join("\n")
}

fn begin<F>(
    flow: &'static Flow,
    name: &'static str,
    command: &Command,
    build: impl FnOnce(Process) -> F,
    logs_are_json: &mut bool,
) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<()>>,
{
    let sources =
        Sources::read(flow, name, command.config.as_ref(), std::env::vars(), &command.set)?;
    let settings = sources.settings()?;
    *logs_are_json = telemetry::start_logs(&settings.log);
    // With several threads, the connection's task runs as soon as one message has something to
    // send; with one thread, only after everything else that can run. So one thread costs a quarter
    // less CPU per order in all (measured).
    let mut builder = match settings.worker.threads {
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    let runtime = builder.worker_threads(settings.worker.threads).enable_all().build()?;
    runtime.block_on(async {
        if command.healthcheck {
            return health::check(settings.health.listen).await;
        }
        if command.print_settings {
            let printed = build(Process::printing(flow, name, sources).await?).await;
            return printed.or_else(|error| error.downcast::<Printed>().map(drop));
        }
        build(Process::connect(flow, name, sources).await?).await
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_told_in_lines_that_fit() {
        let long = format!("worker: it is {} said\n  and how", "long and ".repeat(20));
        let told = within(&long);
        assert!(told.lines().all(|line| line.chars().count() <= LINE), "{told}");
        assert!(told.ends_with("\n  and how"), "{told}");
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(words(&told), words(&long));
    }
}
