//! Closes an order that was shipped.
//!
//! There is nothing left to do outside, so nothing can fail, be refused or be undone. The runtime
//! writes the other ending, a cancelled order: it follows from the flow table.

use quadrille::step::{Never, Outcome, Step, StepContext, StepError};
use schemas::order_fulfilment::events::{OrderCompleted, ShipmentDispatched};
use serde::{Deserialize, Serialize};

/// None yet; the section exists so that a mistake in it is reported.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {}

#[derive(Debug, Clone, Copy, Default)]
pub struct CompleteOrder;

impl Step for CompleteOrder {
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

#[cfg(test)]
mod tests {
    use quadrille::testing::{given, laws};

    use super::*;

    fn dispatched() -> ShipmentDispatched {
        ShipmentDispatched {
            degraded: false,
            carrier: "sandbox-post".into(),
            label: "lbl_1".parse().unwrap(),
            tracking: Some("SP1".into()),
        }
    }

    #[tokio::test]
    async fn a_shipped_order_is_completed() {
        given(&CompleteOrder).when(&dispatched()).await.then(Outcome::Done(OrderCompleted {}));
    }

    #[tokio::test]
    async fn running_twice_is_running_once() {
        // There is no effect outside: the laws count only the decision.
        let decided = laws::Effects { done: 1, undone: 0 };
        let world = |_| laws::World::new(|| CompleteOrder, move || decided);
        laws::running_twice_is_running_once(world, &dispatched()).await;
    }
}
