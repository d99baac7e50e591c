use std::process::ExitCode;

use charge_customer::gateway::HttpGateway;
use charge_customer::{ChargeCustomer, Settings};
use schemas::order_fulfilment::FLOW;

fn main() -> ExitCode {
    quadrille::worker::main(&FLOW, "charge-customer", async |start| {
        let settings: Settings = start.settings()?;
        let gateway = HttpGateway::new(&settings)?;
        start.run_undoable(ChargeCustomer::new(gateway, &settings)).await
    })
}
