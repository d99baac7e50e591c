use std::process::ExitCode;

use query::orders::ORDERS;
use schemas::order_fulfilment::FLOW;

fn main() -> ExitCode {
    quadrille::service::main(&FLOW, "query", async |start| query::run(&FLOW, &ORDERS, start).await)
}
