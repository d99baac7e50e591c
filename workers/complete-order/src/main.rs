use std::process::ExitCode;

use complete_order::{CompleteOrder, Settings};
use schemas::order_fulfilment::FLOW;

fn main() -> ExitCode {
    quadrille::worker::main(&FLOW, "complete-order", async |start| {
        let Settings {} = start.settings()?;
        start.run(CompleteOrder).await
    })
}
