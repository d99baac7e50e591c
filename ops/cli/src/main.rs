//! `quadrille`: runs, watches and provisions order sagas from the command line.
//!
//! The commands that any saga has are in the library `quadrille-tool`; here are those that know the
//! order saga, its workers and its sandbox.

mod args;
mod place;
mod stock;
mod orders;
mod rebuild;
mod audit;
mod export;
mod recorded;
mod replay;
mod dev;
mod running;

use std::process::ExitCode;

use quadrille_tool::Tool;
use schemas::order_fulfilment::FLOW;

use args::Command;

fn main() -> ExitCode {
    quadrille_tool::run(&FLOW, running::BROKER, args::line, run)
}

async fn run(command: Command, tool: &Tool) -> anyhow::Result<ExitCode> {
    match command {
        Command::Dev(args) => dev::run(args, tool).await,
        Command::Place(args) => place::run(&args, tool).await,
        Command::Stock(command) => stock::run(command, tool).await,
        Command::Orders(command) => orders::run(command, tool).await,
        Command::Audit(args) => audit::run(&args, tool).await,
        Command::Replay(args) => replay::run(&args, tool).await,
        Command::Export(args) => export::run(&args, tool).await,
        Command::Rebuild(args) => rebuild::run(&args, tool).await,
        Command::Verb(verb) => verb.run(tool).await,
        Command::Tied(args) => Err(dev::tied(&args)),
    }
}
