//! The short form of the replica storm. `ops/storm` runs all of it.

use tests::storm;

#[tokio::test]
async fn h01_replicas_killed_throughout_conserve_money_and_stock() {
    let summary = storm::run(300).await;
    println!("{summary}");
    // Each is counted where it happens: when the broker accepts it, and when the log holds its
    // type.
    assert_eq!((summary.orders, summary.completed, summary.cancelled), (300, 210, 90));
    assert_eq!((summary.repeated, summary.resets), (15, 9));
    assert!(summary.lost_acks > 0 && summary.kills > 0, "{summary}");
}
