//! What the gateway decides some time after its answer: payments that are processing, refunds that
//! are pending. The answer that it repeats under the key never changes; the payment does.

use quadrille::step::{Evidence, Outcome};
use quadrille::testing::given;
use rstest::rstest;
use serde_json::json;

use super::{balance, charge, insist, is_refunded, step, undo, visa};
use crate::services::Sandbox;

#[tokio::test]
async fn a_payment_that_was_processing_is_recorded_once_it_has_succeeded() {
    let sandbox = Sandbox::start().await;
    sandbox.set_faults("payment", &json!({ "processing_ms": 300 })).await;
    let step = step(&sandbox);
    given(&step).when(&visa()).await.then_try_again();
    assert_eq!(sandbox.count("captured").await, 0);
    let done = insist("run", async || given(&step).when(&visa()).await.result()).await;
    assert!(matches!(done, Outcome::Done(_)), "{done:?}");
    assert_eq!(sandbox.count("captured").await, 1);
}

#[tokio::test]
async fn an_undo_waits_for_a_payment_that_is_processing_and_refunds_it() {
    let sandbox = Sandbox::start().await;
    sandbox.set_faults("payment", &json!({ "processing_ms": 300 })).await;
    let step = step(&sandbox);
    given(&step).when(&visa()).await.then_try_again();
    given(&step).when_undone(&visa(), Evidence::Unknown).await.then_try_again();
    assert!(is_refunded(&undo(&step, Evidence::Unknown).await));
    assert_eq!((sandbox.count("captured").await, balance(&sandbox, "A123").await), (1, 0));
    given(&step).when(&visa()).await.then_superseded();
}

#[rstest]
#[tokio::test]
async fn a_pending_refund_is_none_until_it_has_succeeded(
    #[values(false, true)] with_evidence: bool,
) {
    let sandbox = Sandbox::start().await;
    let step = step(&sandbox);
    let charged = charge(&step).await;
    sandbox.set_faults("payment", &json!({ "refund_pending_ms": 300 })).await;
    let evidence = || if with_evidence { Evidence::Recorded(&charged) } else { Evidence::Unknown };
    for _ in 0..3 {
        given(&step).when_undone(&visa(), evidence()).await.then_try_again();
    }
    assert_eq!(sandbox.count("refunded").await, 0);
    assert!(is_refunded(&undo(&step, evidence()).await));
    assert_eq!((sandbox.count("refunded").await, balance(&sandbox, "A123").await), (1, 0));
}

#[tokio::test]
async fn a_refund_that_fails_later_is_made_again_under_the_next_key() {
    let sandbox = Sandbox::start().await;
    let step = step(&sandbox);
    let charged = charge(&step).await;
    let fails = json!({ "refund_pending_ms": 100, "refund_fails": true, "times": 2 });
    sandbox.set_faults("payment", &fails).await;
    assert!(is_refunded(&undo(&step, Evidence::Recorded(&charged)).await));
    assert!(is_refunded(&undo(&step, Evidence::Recorded(&charged)).await));
    assert_eq!((sandbox.count("refunded").await, balance(&sandbox, "A123").await), (1, 0));
}
