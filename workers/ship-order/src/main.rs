use std::process::ExitCode;

use ship_order::carrier::HttpCarrier;
use ship_order::{Settings, ShipOrder};

fn main() -> ExitCode {
    quadrille::worker::main("ship-order", async |start| {
        let settings: Settings = start.settings()?;
        let carrier = HttpCarrier::new(&settings)?;
        start.run(ShipOrder::new(carrier)).await
    })
}
