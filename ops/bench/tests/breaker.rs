//! Three rows of the breaker's bench, with what must be so on any machine: counts, never times.

use std::process::Command;

use harness::folder::Folder;
use serde_json::Value;

/// Each of them with the design that Quadrille has.
const ROWS: [&str; 3] = ["500s", "3-of-8", "403-and-429"];

#[test]
fn an_outage_wastes_little_and_parks_nothing_that_could_be_answered() {
    let folder = Folder::new("quadrille-bench-figures-");
    let file = folder.file("figures.json");
    let output = Command::new(env!("CARGO_BIN_EXE_bench"))
        .args(["breaker", "--quick", "--designs", "full", "--rows", &ROWS.join(",")])
        .arg("--json")
        .arg(&file)
        .output()
        .expect("it was built for this test");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "ops/bench/run breaker --quick says:\n{said}");
    let json = std::fs::read(&file).expect("--json was given");
    let figures: Value = serde_json::from_slice(&json).expect("JSON");
    let [outage, sick, odd] = ROWS.map(|name| row(&figures, name));
    for row in [outage, sick, odd] {
        assert_eq!(row["wrongly_parked"], 0, "{row:#}");
        assert!(row["orders"].as_u64() > Some(0), "{row:#}");
    }
    for row in [outage, sick] {
        // A row that wastes nothing has staged no outage.
        let wasted = row["wasted_calls"].as_u64();
        assert!(wasted > Some(0) && wasted <= row["wasted_limit"].as_u64(), "{row:#}");
    }
    assert!(outage["paused_seconds"].as_f64() > Some(0.0), "{outage:#}");
    assert!(outage["detect_ms"].is_number() && outage["first_good_ms"].is_number(), "{outage:#}");
    assert_eq!(outage["deliveries_burnt"], 0, "{outage:#}");
    assert_eq!(outage["goodput"], 1.0, "{outage:#}");
    for row in [sick, odd] {
        assert_eq!(row["paused_seconds"], 0.0, "replicas were answered: {row:#}");
    }
}

fn row<'a>(figures: &'a Value, name: &str) -> &'a Value {
    let scenarios = figures["scenarios"].as_array().expect("a list");
    let row = scenarios.iter().find(|scenario| scenario["name"] == name);
    row.unwrap_or_else(|| panic!("{name} is not in {figures:#}"))
}
