use quadrille::broker::Answers;
use std::process::ExitCode;

use reserve_inventory::stock::StockLog;
use reserve_inventory::{ReserveInventory, Settings, stock_service};
use schemas::order_fulfilment::FLOW;

fn main() -> ExitCode {
    quadrille::worker::main(&FLOW, "reserve-inventory", async |start| {
        let settings: Settings = start.settings()?;
        let broker = start.broker();
        stock_service::open(&StockLog::new(broker.clone()), &settings.opening_stock).await?;
        let endpoints = stock_service::ENDPOINTS;
        let requests =
            broker.serve("stock", stock_service::PREFIX, endpoints, Answers::One).await?;
        let service = stock_service::serve(requests, StockLog::new(broker.clone()));
        start.beside(service).run_undoable(ReserveInventory::new(StockLog::new(broker))).await
    })
}
