use std::process::ExitCode;

use schemas::order_fulfilment::FLOW;
use ship_order::carrier::HttpCarrier;
use ship_order::quotes::HttpQuotes;
use ship_order::{Settings, ShipOrder};

fn main() -> ExitCode {
    quadrille::worker::main(&FLOW, "ship-order", async |start| {
        let settings: Settings = start.settings()?;
        let carrier = HttpCarrier::new(&settings)?;
        let quotes = HttpQuotes::new(&settings)?;
        let breaker = start.call_breaker("quote-service")?;
        let step = ShipOrder::new(carrier, quotes, breaker).landing_within(settings.lands_within);
        start.run_settling(step).await
    })
}
