use std::process::ExitCode;
use std::sync::Arc;

use quadrille::broker::Answers;
use reserve_inventory::shelf::Shelf;
use reserve_inventory::stock::StockLog;
use reserve_inventory::{ReserveInventory, Settings, stock_service};
use schemas::order_fulfilment::FLOW;

fn main() -> ExitCode {
    quadrille::worker::main(&FLOW, "reserve-inventory", async |start| {
        let settings: Settings = start.settings()?;
        let broker = start.broker();
        let stock = Arc::new(StockLog::new(broker.clone(), start.keys().await?));
        stock_service::open(&stock, &settings.opening_stock).await?;
        let endpoints = stock_service::ENDPOINTS;
        let requests =
            broker.serve("stock", stock_service::PREFIX, endpoints, Answers::One).await?;
        let shelf = Arc::new(Shelf::new(broker, stock.clone()));
        let service = stock_service::serve(requests, stock.clone(), shelf.clone());
        let start = start.beside(service).beside(async move { shelf.clear().await });
        start.run_undoable(ReserveInventory::new(stock)).await
    })
}
