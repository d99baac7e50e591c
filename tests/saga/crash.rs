//! The short form of the crash matrix: every cell, few orders. `ops/crash-matrix` runs the whole.

use tests::crash::{Cell, run_all, table};

#[test]
fn h10_a_worker_killed_anywhere_leaves_one_outcome_and_one_effect() {
    let reports = run_all(&Cell::all(), 8, 4);
    println!("{}", table(&reports));
    assert!(reports.iter().all(|report| report.result.is_ok()), "{}", table(&reports));
}
