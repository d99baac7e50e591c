use std::process::ExitCode;

use command::Settings;
use schemas::order_fulfilment::FLOW;

fn main() -> ExitCode {
    quadrille::service::main(&FLOW, command::NAME, async |start| {
        let settings: Settings = start.settings()?;
        command::run(start, settings).await
    })
}
