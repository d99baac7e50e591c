//! A worker that is stopped for so long that another replica does its work, and then goes on where
//! it was.

use rstest::rstest;
use schemas::order_fulfilment::FLOW;
use tests::stack::{Armed, Fate, Launch, Stack};

#[rstest]
#[case::of_a_reservation("reserve-inventory", "run", Fate::Completes)]
#[case::of_a_charge("charge-customer", "run", Fate::Completes)]
#[case::of_a_shipment("ship-order", "run", Fate::Completes)]
#[case::of_a_completion("complete-order", "run", Fate::Completes)]
#[case::of_a_refund("charge-customer", "undo", Fate::NoCarrier)]
#[case::of_a_release("reserve-inventory", "undo", Fate::Declined)]
#[tokio::test]
async fn h10_a_zombie_between_effect_and_commit_changes_nothing(
    #[case] worker: &'static str,
    #[case] direction: &str,
    #[case] fate: Fate,
) {
    let mut stack = Stack::bare().await;
    let armed = Armed::at(&stack, "zombie", &format!("{direction}.after-effect"));
    stack.start(armed.stops(worker)).await;
    stack.start_others(worker).await;
    stack.fill_stock().await;

    let first = stack.place_all("first", &[fate]).await;
    armed.happens().await;
    let row = FLOW.row(worker).unwrap();
    let undo = row.undo.filter(|_| direction == "undo");
    let slot = FLOW.slot(undo.map_or(row.slot, |undo| undo.slot), &first[0]);
    let before = stack.story(&first[0]).await;
    assert!(!before.contains(slot.subject()), "it went on before it was stopped:\n{before}");
    let other = stack.start(Launch::of(worker)).await.pid();
    stack.closed(&first).await;
    let story = stack.story(&first[0]).await;
    assert!(story.contains(slot.subject()), "{story}");

    stack.worker(worker).resume();
    stack.workers.retain(|worker| worker.pid() != other);
    // Only the replica that was stopped is left to do this.
    let second = stack.place_all("second", &[fate]).await;
    stack.closed(&second).await;
    stack.quiet().await;
    stack.check().await;
    assert_eq!(stack.story(&first[0]).await, story);
}
