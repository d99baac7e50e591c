//! The operator's tool for the sagas of any flow: `topology`, `trace`, `why`, `open`, `cancel`,
//! `parked`, `breaker` and `completions`.
//!
//! ```no_run
//! # use quadrille::flow::{Flow, opens, step};
//! # static FLOW: Flow = Flow {
//! #     saga: "trip",
//! #     stream: "TRIPS",
//! #     subjects: "trips",
//! #     opens: opens("requested", "trip.requested.v1"),
//! #     turns: opens("refused", "trip.refused.v1"),
//! #     steps: &[
//! #         step("book-hotel")
//! #             .on("requested")
//! #             .writes("hotel", "hotel.booked.v1", "hotel.refused.v1")
//! #             .undone_by("hotel-undo", &["hotel.cancelled.v1"]),
//! #         step("end-trip").on("hotel").closes("closed", "trip.booked.v1", "trip.cancelled.v1"),
//! #     ],
//! # };
//! fn main() -> std::process::ExitCode {
//!     quadrille_tool::main(&FLOW)
//! }
//! ```
//!
//! A tool that has more commands puts a [`Verb`] among them, and starts with [`run`].
//!
//! It reads by default. A command that changes something says so in its name (`cancel`), or, where
//! there is a plan to read first (`topology apply`, `parked retry`), needs `--write`. Data
//! goes to stdout, the rest to stderr. Nothing here is for one saga alone: the flow says what there
//! is.

mod tool;

pub mod topology;
pub mod trace;
pub mod why;
pub mod open;
pub mod cancel;
pub mod parked;
pub mod breaker;

pub mod values;
pub mod wait;
pub mod connect;
pub mod output;

use std::process::ExitCode;

use clap::Subcommand;
use quadrille::Flow;

use connect::DefaultBroker;

pub use tool::{Tool, line, run};

const EXAMPLES: &str = "\
Examples:
  {tool} topology plan               what the broker lacks
  {tool} trace A123                  the whole story of one saga
  {tool} why A123                    what a saga waits for, and what to do
  {tool} open                        what is open, longest wait first
  {tool} cancel A123                 take a saga back
  {tool} parked ls                   what was set aside, and why
  {tool} breaker show                which outside services give no answer

Exit codes: 0 done; 1 failed, or something is not as it should be; 2 wrong usage, or changes are
pending (topology).";

/// The commands that work with any flow.
#[derive(Debug, Subcommand)]
pub enum Verb {
    Trace(trace::TraceArgs),
    Why(why::WhyArgs),
    Open(open::OpenArgs),
    Cancel(cancel::CancelArgs),
    #[command(subcommand)]
    Parked(parked::ParkedCommand),
    #[command(subcommand)]
    Topology(topology::TopologyCommand),
    #[command(subcommand)]
    Breaker(breaker::BreakerCommand),
    /// Print a completion script for a shell
    #[command(after_help = "\
Examples:
  cd ~/.local/share/bash-completion/completions
  {tool} completions bash > {tool}
  {tool} completions zsh > ~/.zfunc/_{tool}")]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// `main` of a tool for the sagas of `flow` that has these commands and no others. In help and
/// hints the tool has the name of its program. A command that names no broker talks to
/// [`connect::LOCAL`].
pub fn main(flow: &'static Flow) -> ExitCode {
    let line = |name| {
        let about = format!("Watch and provision {} sagas on NATS JetStream", flow.saga);
        tool::line::<Verb>(name, EXAMPLES).about(about)
    };
    tool::run(flow, DefaultBroker::LOCAL, line, async |verb: Verb, tool| verb.run(tool).await)
}

impl Verb {
    /// Does what the command says; the exit code tells a script how that went.
    ///
    /// # Errors
    /// When the broker cannot be reached, does not answer or refuses a change.
    pub async fn run(self, tool: &Tool) -> anyhow::Result<ExitCode> {
        match self {
            Self::Trace(args) => trace::run(&args, tool).await,
            Self::Why(args) => why::run(&args, tool).await,
            Self::Open(args) => open::run(&args, tool).await,
            Self::Cancel(args) => cancel::run(&args, tool).await,
            Self::Parked(command) => parked::run(&command, tool).await,
            Self::Topology(command) => topology::run(&command, tool).await,
            Self::Breaker(command) => breaker::run(&command, tool).await,
            Self::Completions { shell } => {
                tool.target.refuse("completions", "it asks no broker")?;
                output::raw(&tool.completions(shell))?;
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_calls_itself_by_its_own_name() {
        let mut line = tool::line::<Verb>("trip", EXAMPLES);
        line.clone().debug_assert();
        let help = line.render_help().to_string();
        assert!(help.contains("  trip trace A123"), "{help}");
        let completions = line.find_subcommand_mut("completions").unwrap().render_help();
        assert!(completions.to_string().contains("trip completions zsh > ~/.zfunc/_trip"));
    }
}
