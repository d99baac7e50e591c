//! The service forgets an idempotency key before the worker knows what came of it.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tests::eventually::eventually;
use tests::stack::{Fate, Stack};

use crate::by_hand::effects;
use crate::outages::charging;

/// How long the gateway remembers a key.
const LIFETIME_MS: u64 = 2_000;
/// Longer than that.
const OUTAGE: SignedDuration = SignedDuration::from_secs(5);

#[tokio::test]
async fn h22_a_charge_whose_key_the_gateway_has_forgotten_is_made_once() {
    let mut stack = Stack::bare().await;
    stack.start_others("charge-customer").await;
    // What the adapter is told of the gateway, with a second to spare.
    stack.start(charging().env("QUADRILLE_CHARGE_CUSTOMER__KEY_LIFETIME", "1s")).await;
    stack.fill_stock().await;
    let lost = json!({
        "operations": ["confirm"], "drop_reply_rate": 1, "key_lifetime_ms": LIFETIME_MS,
    });
    stack.sandbox.set_faults("payment", &lost).await;
    let ids = stack.place_all("forgotten", &[Fate::Completes; 3]).await;
    eventually("each is charged, and no worker knows", async || {
        let ledger = stack.sandbox.ledger().await;
        let charges = ledger.iter().filter(|line| line.effect == "captured");
        (charges.count() == ids.len()).then_some(())
    })
    .await;
    let began = Timestamp::now();
    let away = json!({ "error_rate": 1, "key_lifetime_ms": LIFETIME_MS });
    stack.sandbox.set_faults("payment", &away).await;
    eventually("the gateway has forgotten the keys", async || {
        (Timestamp::now().duration_since(began) > OUTAGE).then_some(())
    })
    .await;
    let back = json!({ "key_lifetime_ms": LIFETIME_MS });
    stack.sandbox.set_faults("payment", &back).await;
    stack.closed(&ids).await;
    for id in &ids {
        assert_eq!(effects(&stack, id, "captured").await, 1, "{}", stack.story(id).await);
    }
    stack.quiet().await;
    stack.check().await;
}
