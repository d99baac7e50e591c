//! The query worker of the trips: `nats req trips.list '{"hotel":"Ritz"}'`, and over HTTP at the
//! address that `query.listen` says.

use trip::{flow::FLOW, trips::TRIPS};

fn main() -> std::process::ExitCode {
    quadrille::service::main(&FLOW, "query", async |start| query::run(&FLOW, &TRIPS, start).await)
}
