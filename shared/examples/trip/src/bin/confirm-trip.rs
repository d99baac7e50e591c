//! The worker of the step `confirm-trip`, which also closes a trip that is cancelled.

use trip::{confirm_trip::ConfirmTrip, flow::FLOW};

fn main() -> std::process::ExitCode {
    quadrille::worker::main(&FLOW, "confirm-trip", async |start| start.run(ConfirmTrip).await)
}
