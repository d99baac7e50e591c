use std::process::ExitCode;

use complete_order::{CompleteOrder, Settings};

fn main() -> ExitCode {
    quadrille::worker::main("complete-order", async |start| {
        let Settings {} = start.settings()?;
        start.run(CompleteOrder).await
    })
}
