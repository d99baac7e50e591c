//! A deploy drops nothing: a worker finishes what is in hand, or gives it back at once.

use std::time::Duration;

use jiff::SignedDuration;
use quadrille::SagaId;
use quadrille::topology::{Profile, Topology};
use schemas::order_fulfilment::FLOW;
use serde_json::json;
use tests::eventually::eventually;
use tests::stack::{Fate, Launch, Logged, Stack};
use tokio::time::{Instant, interval};

/// Far longer than any of these tests allows, so that a message which was dropped, and not given
/// back, is late.
const ACK_WAIT: Duration = Duration::from_secs(50);

/// Six times the slowest order where this was measured, and a fifth of what one redelivery would
/// add; so no message of any order waited for a redelivery.
const LONGEST: SignedDuration = SignedDuration::from_secs(10);

async fn stack_with_long_ack_wait() -> Stack {
    Stack::bare_with(Topology { ack_wait: ACK_WAIT, ..Topology::new(&FLOW, Profile::Dev) }).await
}

#[tokio::test]
async fn h44_restarts_under_load_lose_nothing_and_delay_nothing() {
    let mut stack = stack_with_long_ack_wait().await;
    for step in FLOW.steps.iter().chain(FLOW.steps) {
        stack.start(Launch::of(step.worker)).await;
    }
    stack.fill_stock().await;
    // Work is in hand at every moment.
    for service in ["payment", "carrier"] {
        stack.sandbox.set_faults(service, &json!({ "latency_ms": 50, "jitter_ms": 200 })).await;
    }
    let mut workers = std::mem::take(&mut stack.workers);
    let launcher = stack.launcher();
    let restarts = async {
        let mut ticks = interval(Duration::from_secs(2));
        // Every replica of every worker, once.
        for worker in &mut workers {
            ticks.tick().await;
            let status = worker.shut_down().await;
            assert!(status.success(), "{}", worker.said());
            *worker = launcher.launch(&Launch::of(worker.name()));
            worker.ready().await.unwrap();
        }
    };
    let load = async {
        let mut ids = Vec::new();
        let mut ticks = interval(Duration::from_millis(200));
        for wave in 0..75 {
            ticks.tick().await;
            ids.extend(stack.place_all(&format!("wave-{wave}"), &Fate::ALL).await);
        }
        ids
    };
    let (ids, ()) = tokio::join!(load, restarts);
    stack.closed(&ids).await;
    stack.quiet().await;
    stack.check().await;
    assert_eq!(ids.len(), 75 * Fate::ALL.len());
    let slowest = slowest(&stack.history().await.log, &ids);
    assert!(slowest < LONGEST, "an order took {slowest}");
}

/// The longest time from an order to its end, by the broker's clock.
fn slowest(log: &[Logged], ids: &[SagaId]) -> SignedDuration {
    let at = |subject: &str| {
        log.iter().find(|message| message.subject == subject).expect("it is in the log").at
    };
    let took = |id: &SagaId| {
        let [placed, closed] =
            [FLOW.opens.slot, FLOW.closing().slot].map(|slot| at(FLOW.slot(slot, id).subject()));
        closed.duration_since(placed)
    };
    ids.iter().map(took).max().expect("at least one order")
}

#[tokio::test]
async fn h44_work_that_cannot_be_finished_is_at_another_replica_within_a_second() {
    let mut stack = stack_with_long_ack_wait().await;
    stack.start_others("charge-customer").await;
    stack.fill_stock().await;
    let launch = Launch::of("charge-customer")
        .env("QUADRILLE_CHARGE_CUSTOMER__TIMEOUT", "30s")
        .env("QUADRILLE_WORKER__DEADLINE", "30s")
        .env("QUADRILLE_WORKER__DRAIN_LIMIT", "1s");
    let mut first = stack.launcher().launch(&launch);
    first.ready().await.unwrap();
    let hangs = json!({ "operations": ["create"], "hang_rate": 1, "times": 3 });
    stack.sandbox.set_faults("payment", &hangs).await;
    let ids = stack.place_all("in-hand", &[Fate::Completes; 3]).await;
    let calls = async |least: u64| {
        eventually(&format!("{least} calls"), async || {
            (stack.sandbox.calls("create").await >= least).then_some(())
        })
        .await;
    };
    calls(3).await;
    let mut second = stack.launcher().launch(&launch);
    second.ready().await.unwrap();
    first.shut_down().await;
    let given_back = Instant::now();
    calls(6).await;
    let late = given_back.elapsed();
    assert!(late < Duration::from_secs(1), "taken up after {late:?}");
    stack.closed(&ids).await;
    stack.quiet().await;
    stack.sandbox.clear_faults().await;
    stack.check().await;
    second.shut_down().await;
}
