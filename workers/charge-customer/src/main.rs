use std::process::ExitCode;

use charge_customer::gateway::HttpGateway;
use charge_customer::{ChargeCustomer, Settings};

fn main() -> ExitCode {
    quadrille::worker::main("charge-customer", async |start| {
        let settings: Settings = start.settings()?;
        let gateway = HttpGateway::new(&settings)?;
        start.run_undoable(ChargeCustomer::new(gateway, &settings)).await
    })
}
