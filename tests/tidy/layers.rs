//! Who may know of what.

use crate::tree::{assert_tidy, files};

/// The client library is spoken here, and nowhere else.
const CLIENT: &[(&str, &str)] = &[
    ("shared/src/nats.rs", "the adapter"),
    ("shared/src/nats/", "the adapter"),
    ("ops/bench/src/raw.rs", "the baseline without Quadrille"),
    ("ops/bench/src/raw/", "the baseline without Quadrille"),
    ("tests/", "what other people's clients do"),
];

#[test]
fn the_broker_is_named_only_in_its_adapter() {
    let (client, subjects) = (concat!("async", "_nats"), concat!("$", "JS."));
    let mut findings = Vec::new();
    for file in files(&[".rs"]) {
        if CLIENT.iter().any(|(home, _why)| file.path.starts_with(home)) {
            continue;
        }
        // A test may well send such a subject as bad input.
        let names = if file.is_test() { vec![client] } else { vec![client, subjects] };
        for (number, _) in file.lines().filter(|(_, l)| names.iter().any(|name| l.contains(name))) {
            let path = &file.path;
            findings.push(format!("{path}:{number}: ask the port in shared/src/broker.rs instead"));
        }
    }
    assert_tidy(&findings);
}

#[test]
fn the_contract_knows_of_no_runtime() {
    let strangers = ["tokio", "quadrille", "async-nats", "futures", "hyper"];
    let mut findings = Vec::new();
    for path in ["shared/vocabulary/Cargo.toml", "schemas/Cargo.toml"] {
        let manifest = crate::tree::read(path);
        let named = |line: &str| strangers.iter().any(|name| line.starts_with(&format!("{name}.")));
        for (number, _) in manifest.lines().filter(|(_, line)| named(line)) {
            findings.push(format!(
                "{path}:{number}: plain types only; whatever needs this lives in shared/"
            ));
        }
    }
    assert_tidy(&findings);
}
