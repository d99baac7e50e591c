//! The benchmark runs from end to end, and its figures are where scripts look for them. No test
//! checks how large they are, because that depends on the machine and on what else it does.

use std::path::Path;
use std::process::Command;

use harness::folder::Folder;
use serde_json::Value;

#[test]
fn a_quick_run_measures_every_side() {
    let folder = Folder::new("quadrille-bench-figures-");
    let file = folder.file("figures.json");
    let output = Command::new(env!("CARGO_BIN_EXE_bench"))
        .args(["--quick", "--sides", "raw,reading,product,flow"])
        .arg("--json")
        .arg(&file)
        .output()
        .expect("it was built for this test");
    let (said, printed) = (text(&output.stderr), text(&output.stdout));
    assert!(output.status.success(), "ops/bench/run --quick says:\n{said}");
    let figures = read(&file);
    for side in ["raw", "reading", "product", "flow"] {
        let side = &figures[side];
        assert!(positive(&side["orders_per_second"]), "{figures:#}");
        let [p50, p99, p999] = ["p50", "p99", "p999"].map(|name| side["latency_ms"][name].as_f64());
        assert!(p50 > Some(0.0) && p50 <= p99 && p99 <= p999, "{figures:#}");
        assert_eq!(side["messages_per_order"], 6.0, "{figures:#}");
    }
    assert!(positive(&figures["ratio"]) && positive(&figures["stock_batch_ms"]["p50"]));
    all_sides_move_as_much(&figures);
    every_process_is_weighed(&figures);
    assert_eq!(figures["criteria"].as_array().map(Vec::len), Some(5), "{figures:#}");
    for ratio in ["product to raw", "product to reading"] {
        assert!(printed.contains(ratio), "{printed}");
    }
}

/// Otherwise the ratio would compare two different things.
fn all_sides_move_as_much(figures: &Value) {
    let bytes = |side: &str| figures[side]["bytes_per_order"].as_f64().unwrap_or_default();
    for side in ["product", "reading"] {
        let difference = (bytes(side) - bytes("raw")).abs();
        assert!(difference < 0.05 * bytes("raw"), "{side}: {figures:#}");
    }
}

fn every_process_is_weighed(figures: &Value) {
    if !Path::new("/proc/self/stat").exists() {
        return;
    }
    let processes = figures["processes"].as_array().expect("a list");
    // A server, four workers and the driver on each side, and the sandbox of the flow.
    assert_eq!(processes.len(), 4 * 6 + 1, "{figures:#}");
    for process in processes {
        assert!(process["name"].is_string() && process["cpu_seconds"].is_number(), "{process}");
        assert!(positive(&process["peak_rss_mb"]), "{process}");
    }
}

fn positive(value: &Value) -> bool {
    value.as_f64().is_some_and(|number| number > 0.0)
}

fn read(file: &Path) -> Value {
    let json = std::fs::read(file).expect("--json was given");
    serde_json::from_slice(&json).expect("JSON")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
