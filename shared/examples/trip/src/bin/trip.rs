//! The operator's tool: `trip topology apply --write` makes what the flow needs on the broker, and
//! `trip trace T1` tells what happened to one trip.

fn main() -> std::process::ExitCode {
    quadrille_tool::main(&trip::flow::FLOW)
}
