//! Which code may know of what.

use schemas::CONTRACTS;

use crate::tree::{File, assert_tidy, files};

/// The client library is used here, and nowhere else.
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
        // A test may send such a subject as bad input.
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
                "{path}:{number}: plain types only; code that needs this belongs in shared/"
            ));
        }
    }
    assert_tidy(&findings);
}

/// These folders serve any saga, so none of them knows this repository's own.
const LIBRARY: &[&str] =
    &["shared/src/", "shared/vocabulary/src/", "shared/tool/src/", "shared/projection/src/"];

/// What `trace --json` says in any saga: a new name would break the scripts that read it.
const EXCEPTION: (&str, &str) = ("shared/src/log/story.rs", r#"rename = "since_placed_ms""#);

/// What only the order saga has: its module, its opening, workers, streams of their own, and
/// fields. A field that is one plain word, such as `lines`, may mean anything. And what only this
/// repository has: a sandbox, and a `quadrille dev` to run it.
fn own_words() -> Vec<String> {
    let mut words = ["sku", "sandbox", "quadrille dev"].map(str::to_owned).to_vec();
    for contract in CONTRACTS {
        words.push(contract.name.to_owned());
        words.push(contract.flow.opens.slot.to_owned());
        for row in contract.flow.steps {
            words.push(row.worker.to_owned());
            words.extend(row.keeps.map(|kept| kept.stream.to_owned()));
        }
        for kind in contract.events {
            let schema = kind.schema();
            let fields = schema.get("properties").and_then(|fields| fields.as_object());
            let fields = fields.into_iter().flat_map(|fields| fields.keys());
            words.extend(fields.filter(|field| field.contains('_')).cloned());
        }
    }
    words
}

/// The lines of a file outside its tests, comments included.
fn lines_outside_tests(file: &File) -> impl Iterator<Item = (usize, &str)> {
    let mut in_tests = false;
    file.lines().filter(move |(_, line)| {
        in_tests |= *line == "#[cfg(test)]";
        let skipped = in_tests;
        in_tests &= !(*line == "}" || line.ends_with(';') && line.starts_with("mod "));
        !skipped
    })
}

fn has_word(line: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '-';
    line.match_indices(word).any(|(at, _)| {
        let (before, after) = (&line[..at], &line[at + word.len()..]);
        !before.ends_with(is_part) && !after.starts_with(is_part)
    })
}

#[test]
fn the_library_names_no_one_saga() {
    let words = own_words();
    let mut findings = Vec::new();
    let is_test = |file: &File| file.is_test() || file.path.ends_with("/tests.rs");
    let in_library = |file: &File| LIBRARY.iter().any(|home| file.path.starts_with(home));
    for file in files(&[".rs"]).iter().filter(|file| in_library(file) && !is_test(file)) {
        let (path, text) = EXCEPTION;
        let stays = |line: &str| file.path == path && line.contains(text);
        for (number, line) in lines_outside_tests(file).filter(|(_, line)| !stays(line)) {
            for word in words.iter().filter(|word| has_word(line, word)) {
                let path = &file.path;
                findings.push(format!(
                    "{path}:{number}: {word} is the order saga's or this repository's: take it \
                     from the flow, or from the caller"
                ));
            }
        }
    }
    assert_tidy(&findings);
}
