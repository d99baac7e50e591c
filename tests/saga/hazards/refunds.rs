//! Undo is not behind forward work, and is never given up.

use serde_json::json;
use tests::eventually::eventually;
use tests::invariants::Effect;
use tests::stack::{Fate, Launch, Stack};

use crate::by_hand::{effects, holds};
use crate::outages::{charging, until_phase, until_probes_failed};

/// Calls that the replica may have in flight.
const CALLS: usize = 16;
/// Messages in its hand when the service goes away.
const HELD: u64 = 100;

/// How many orders whose names begin so are charged.
async fn charged(stack: &Stack, name: &str) -> usize {
    charged_of(&stack.sandbox.ledger().await, name)
}

fn charged_of(ledger: &[Effect], name: &str) -> usize {
    let of_these = |id: &String| id.starts_with(name);
    let charges = ledger.iter().filter(|line| line.effect == "captured");
    charges.filter(|line| line.order.as_ref().is_some_and(of_these)).count()
}

#[tokio::test]
async fn h28_after_a_brownout_refunds_come_before_what_waited_longer() {
    let mut stack = Stack::bare().await;
    for worker in ["reserve-inventory", "complete-order"] {
        stack.start(Launch::of(worker)).await;
    }
    stack.start(charging().env("QUADRILLE_WORKER__CONCURRENCY", CALLS)).await;
    stack.fill_stock().await;
    // They are charged, and will be refused once there is somebody to ship them.
    let refused = stack.place_all("refused", &[Fate::NoCarrier; 6]).await;
    for id in &refused {
        eventually("it is charged", async || holds(&stack, id, "payment").await).await;
    }
    let brownout = json!({ "operations": ["create"], "error_rate": 0.6, "latency_ms": 100 });
    stack.sandbox.set_faults("payment", &brownout).await;
    let backlog = stack.place_all("backlog", &[Fate::Completes; 600]).await;
    eventually("many are held", async || {
        let info = stack.raw.durable("ORDERS", "charge-customer").await;
        (info["num_ack_pending"].as_u64() > Some(HELD)).then_some(())
    })
    .await;
    stack.sandbox.set_faults("payment", &json!({ "error_rate": 1 })).await;
    until_phase(&stack, "paused").await;
    stack.start(Launch::of("ship-order")).await;
    for id in &refused {
        eventually("it is refused", async || holds(&stack, id, "shipment").await).await;
    }
    // Until all that is held would have been tried again by now.
    until_probes_failed(&stack, 2).await;
    let before = charged(&stack, "backlog").await;
    // Slow enough for the order of the calls to be seen.
    stack.sandbox.set_faults("payment", &json!({ "latency_ms": 20 })).await;
    stack.closed(&refused).await;
    stack.closed(&backlog).await;
    let ledger = stack.sandbox.ledger().await;
    let last = ledger.iter().rposition(|line| line.effect == "refunded").expect("refunds");
    let (since, most) = (charged_of(&ledger[..last], "backlog") - before, 2 * CALLS);
    assert!(since <= most, "{since} of the backlog were charged before the last refund");
    stack.quiet().await;
    stack.check().await;
}

#[tokio::test]
async fn h29_a_refund_that_cannot_succeed_is_neither_parked_nor_dropped_until_it_does() {
    let mut stack = Stack::bare().await;
    stack.start_others("charge-customer").await;
    // One failure of its own is enough to park a message, but for an undo.
    stack.start(charging().env("QUADRILLE_BREAKER__PAYMENT_GATEWAY__MAX_ATTEMPTS", 1)).await;
    stack.fill_stock().await;
    for (name, status, tries) in [("unanswered", 503, 4), ("wrong", 400, 1)] {
        let fails = json!({ "operations": ["refund"], "error_rate": 1, "error_status": status });
        stack.sandbox.set_faults("payment", &fails).await;
        let ids = stack.place_all(name, &[Fate::NoCarrier]).await;
        let mut round = 0;
        eventually("the refund has failed so often", async || {
            // Others are answered meanwhile, so that the failures are its own.
            round += 1;
            let others = format!("others-of-{name}-{round}");
            let others = stack.place_all(&others, &[Fate::Completes; 8]).await;
            stack.closed(&others).await;
            (stack.sandbox.calls_for(&ids[0], "refund").await >= tries).then_some(())
        })
        .await;
        if status == 400 {
            eventually("somebody is told", async || {
                stack.worker("charge-customer").said().contains("undo-blocked").then_some(())
            })
            .await;
        }
        assert_eq!(stack.raw.messages("ORDERS_PARKED").await, 0);
        assert_eq!(effects(&stack, &ids[0], "refunded").await, 0);
        assert_eq!(holds(&stack, &ids[0], "closed").await, None, "it is not cancelled yet");
        stack.sandbox.clear_faults().await;
        stack.closed(&ids).await;
        assert_eq!(effects(&stack, &ids[0], "refunded").await, 1);
    }
    stack.quiet().await;
    stack.check().await;
}
