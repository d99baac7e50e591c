//! The four workers without outside effects: what is left of a worker when its step costs nothing
//! is Quadrille itself.
//!
//! They use the public API, as any step does. Each says "done" at once, with the data of the golden
//! sample, so that its events are as long as real ones.

use std::process::ExitCode;

use anyhow::bail;
use quadrille::step::{Evidence, Never, Outcome, Step, StepContext, StepError, Undo};
use quadrille::worker::{self, Start};
use schemas::order_fulfilment::FLOW;
use schemas::order_fulfilment::events::{
    InventoryRefused, InventoryReleased, InventoryReserved, OrderCompleted, OrderPlaced,
    PaymentCharged, PaymentRefused, PaymentUndone, PaymentVoided, ShipmentDispatched,
    ShipmentRefused,
};

use crate::samples;

/// `main` of the process that plays `worker`; its command line is a worker's.
pub(crate) fn main(worker: &str) -> ExitCode {
    match FLOW.row(worker) {
        Some(row) => worker::main(&FLOW, row.worker, |start| build(row.worker, start)),
        None => {
            eprintln!("{worker} has no row in the flow table");
            ExitCode::FAILURE
        }
    }
}

async fn build(worker: &str, start: Start) -> anyhow::Result<()> {
    match worker {
        "reserve-inventory" => start.run_undoable(Reserve(samples::data("inventory")?)).await,
        "charge-customer" => start.run_undoable(Charge(samples::data("payment")?)).await,
        "ship-order" => start.run(Ship(samples::data("shipment")?)).await,
        "complete-order" => start.run(Complete).await,
        other => bail!("{other} has no step here: give it one in ops/bench/src/kernel.rs"),
    }
}

struct Reserve(InventoryReserved);
struct Charge(PaymentCharged);
struct Ship(ShipmentDispatched);
struct Complete;

impl Step for Reserve {
    type On = OrderPlaced;
    type Done = InventoryReserved;
    type Refused = InventoryRefused;

    async fn run(
        &self,
        _: &OrderPlaced,
        _: &StepContext,
    ) -> Result<Outcome<InventoryReserved, InventoryRefused>, StepError> {
        Ok(Outcome::Done(self.0.clone()))
    }
}

impl Undo for Reserve {
    type Undone = InventoryReleased;

    async fn undo(
        &self,
        _: &OrderPlaced,
        _: Evidence<&InventoryReserved>,
        _: &StepContext,
    ) -> Result<InventoryReleased, StepError> {
        Ok(Self::never_ran())
    }

    fn never_ran() -> InventoryReleased {
        InventoryReleased {}
    }
}

impl Step for Charge {
    type On = InventoryReserved;
    type Done = PaymentCharged;
    type Refused = PaymentRefused;

    async fn run(
        &self,
        _: &InventoryReserved,
        _: &StepContext,
    ) -> Result<Outcome<PaymentCharged, PaymentRefused>, StepError> {
        Ok(Outcome::Done(self.0.clone()))
    }
}

impl Undo for Charge {
    type Undone = PaymentUndone;

    async fn undo(
        &self,
        _: &InventoryReserved,
        _: Evidence<&PaymentCharged>,
        _: &StepContext,
    ) -> Result<PaymentUndone, StepError> {
        Ok(Self::never_ran())
    }

    fn never_ran() -> PaymentUndone {
        PaymentUndone::Voided(PaymentVoided {})
    }
}

impl Step for Ship {
    type On = PaymentCharged;
    type Done = ShipmentDispatched;
    type Refused = ShipmentRefused;

    async fn run(
        &self,
        _: &PaymentCharged,
        _: &StepContext,
    ) -> Result<Outcome<ShipmentDispatched, ShipmentRefused>, StepError> {
        Ok(Outcome::Done(self.0.clone()))
    }
}

impl Step for Complete {
    type On = ShipmentDispatched;
    type Done = OrderCompleted;
    type Refused = Never;

    async fn run(
        &self,
        _: &ShipmentDispatched,
        _: &StepContext,
    ) -> Result<Outcome<OrderCompleted, Never>, StepError> {
        Ok(Outcome::Done(OrderCompleted {}))
    }
}
