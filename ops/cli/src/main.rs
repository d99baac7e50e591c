//! `quadrille`: runs, watches and provisions order sagas from the command line.
//!
//! It reads by default. Whatever changes something says so in its name or needs a flag. Data goes
//! to stdout, everything else to stderr.

mod args;
mod output;

mod connect;
mod context;

mod dev;
mod place;
mod stock;
mod topology;
mod trace;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use args::{Cli, Command};
use output::Ui;

/// One thread: whatever `dev` starts dies with the thread that started it, so it must be the one
/// that lives as long as the process.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let ui = Ui::new(cli.no_color);
    match run(cli, ui).await {
        Ok(code) => code,
        Err(error) => {
            ui.error(&error);
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli, ui: Ui) -> anyhow::Result<ExitCode> {
    let target = cli.target;
    match cli.command {
        Command::Dev(args) => dev::run(args, ui).await,
        Command::Place(args) => place::run(&args, &target, ui).await,
        Command::Trace(args) => trace::run(&args, &target, ui).await,
        Command::Topology(command) => topology::run(command, &target, ui).await,
        Command::Stock(command) => stock::run(command, &target, ui).await,
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "quadrille", &mut script);
            output::data(&String::from_utf8_lossy(&script))?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Tied(args) => Err(dev::tied(&args)),
    }
}
