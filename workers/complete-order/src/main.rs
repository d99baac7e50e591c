use std::process::ExitCode;

use complete_order::CompleteOrder;

fn main() -> ExitCode {
    quadrille::worker::main("complete-order", async |start| start.run(CompleteOrder).await)
}
