//! The short form of the crash matrix: every cell, few orders. `ops/crash-matrix` runs all of it.

use serde_json::json;
use tests::crash::{Cell, run_all, table};
use tests::invariants::{self, Rule};
use tests::stack::{Armed, Fate, Launch, Stack, Supervisor};

#[test]
fn h10_a_worker_killed_anywhere_leaves_one_outcome_and_one_effect() {
    let reports = run_all(&Cell::all(), 8, 4);
    println!("{}", table(&reports));
    assert!(reports.iter().all(|report| report.result.is_ok()), "{}", table(&reports));
}

/// Shows that the checker sees a second charge: here nothing prevents one.
#[tokio::test]
async fn a_gateway_that_forgets_its_keys_charges_twice_and_the_checker_sees_it() {
    let mut stack = Stack::bare().await;
    stack.sandbox.set_faults("payment", &json!({ "key_lifetime_ms": 1 })).await;
    stack.start_others("charge-customer").await;
    let armed = Armed::at(&stack, "charged", "run.after-effect");
    let _dies_once = Supervisor::keep(stack.launcher(), move |starts| match starts {
        0 => armed.kills("charge-customer"),
        _ => Launch::of("charge-customer"),
    });
    stack.fill_stock().await;
    let ids = stack.place_all("order", &[Fate::Completes]).await;
    stack.closed(&ids).await;
    let violations = invariants::check(&stack.history().await);
    let rules: Vec<_> = violations.iter().map(|violation| violation.rule).collect();
    assert!(rules.contains(&Rule::Money), "{}", invariants::listing(&violations));
    assert!(rules.contains(&Rule::OneEffectPerKey), "{}", invariants::listing(&violations));
}
