//! More work than can be done: what waits stays in the stream.

use schemas::order_fulfilment::FLOW;
use serde_json::json;
use tests::eventually::eventually;
use tests::stack::{Fate, Stack};

use crate::outages::{CONCURRENCY, stack_with};

/// Ten times what the gateway answers in some seconds.
const ORDERS: usize = 1_500;
/// What a worker may grow by while these wait; all of them in hand take more.
const GROWTH_MB: f64 = 4.0;

fn peaks(stack: &Stack) -> Vec<f64> {
    stack.workers.iter().filter_map(|worker| Some(worker.usage()?.peak_rss_mb)).collect()
}

#[tokio::test]
async fn h45_ten_times_too_much_work_grows_no_worker_and_loses_no_order() {
    let stack = stack_with(1).await;
    // Warm: every place was taken once.
    let warm = stack.place_all("warm", &[Fate::Completes; 200]).await;
    stack.closed(&warm).await;
    let before = peaks(&stack);
    // 8 at once, 100 ms for each of two calls: 40 orders a second.
    stack.sandbox.set_faults("payment", &json!({ "latency_ms": 100 })).await;
    let ids = stack.place_all("flood", &vec![Fate::Completes; ORDERS]).await;
    let mut most = 0;
    eventually("some have been charged", async || {
        let info = stack.raw.durable(FLOW.stream, "charge-customer").await;
        most = most.max(info["num_ack_pending"].as_u64().expect("a number"));
        (info["ack_floor"]["consumer_seq"].as_u64() > Some(300)).then_some(())
    })
    .await;
    // Those that are called for, those under way, and those whose end the server has not heard yet.
    assert!(most <= 4 * CONCURRENCY as u64, "{most} in hand");
    stack.sandbox.clear_faults().await;
    stack.closed(&ids).await;
    for (before, after) in before.iter().zip(peaks(&stack)) {
        assert!(after < before + GROWTH_MB, "from {before} to {after} MB");
    }
    stack.quiet().await;
    stack.check().await;
}
