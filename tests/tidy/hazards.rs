//! `tests/HAZARDS.md` lists exactly what is there: each hazard's tests by name, and its mutant.

use std::collections::{BTreeMap, BTreeSet};

use crate::tree::{assert_tidy, files, names, read, root};

const PAGE: &str = "tests/HAZARDS.md";

/// One hazard: the tests and the mutant that its row names.
#[derive(Default)]
struct Row {
    line: usize,
    tests: BTreeSet<String>,
    mutant: Option<String>,
}

/// Rows by id in lower case: `h03`.
fn rows() -> BTreeMap<String, Row> {
    let page = read(PAGE);
    let mut rows = BTreeMap::new();
    // The second part of the page says what is left out.
    let table = page.lines().take_while(|(_, text)| !text.starts_with("## "));
    for (line, text) in table.filter(|(_, text)| text.starts_with("| H")) {
        let cells: Vec<_> = text.trim_matches('|').split('|').map(str::trim).collect();
        let [id, _hazard, _removed_by, tests, mutant] = cells[..] else {
            panic!("{PAGE}:{line}: a row has five cells");
        };
        let quoted = |cell: &str| -> Vec<String> {
            cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
        };
        let row = Row {
            line,
            tests: quoted(tests).into_iter().collect(),
            mutant: quoted(mutant).into_iter().next(),
        };
        assert!(rows.insert(id.to_lowercase(), row).is_none(), "{PAGE}:{line}: {id} is here twice");
    }
    rows
}

/// Tests that are named after a hazard, and where they are.
fn tests() -> BTreeMap<String, String> {
    let mut tests = BTreeMap::new();
    for file in files(&[".rs"]) {
        for (number, line) in file.lines() {
            let line = line.trim_start();
            let line = line.strip_prefix("async ").unwrap_or(line);
            let Some(name) = line.strip_prefix("fn h").and_then(|rest| rest.split('(').next())
            else {
                continue;
            };
            let id = name.get(..2).is_some_and(|id| id.bytes().all(|b| b.is_ascii_digit()));
            if id && name.get(2..3) == Some("_") {
                tests.insert(format!("h{name}"), format!("{}:{number}", file.path));
            }
        }
    }
    tests
}

#[test]
fn every_hazard_names_its_tests_and_every_test_its_hazard() {
    let (rows, tests) = (rows(), tests());
    let mut findings = Vec::new();
    for (name, place) in &tests {
        let named = rows.get(&name[..3]).is_some_and(|row| row.tests.contains(name));
        if !named {
            let id = name[..3].to_uppercase();
            findings.push(format!("{place}: {PAGE} does not name it; add it to {id}"));
        }
    }
    for (id, row) in &rows {
        let line = row.line;
        if row.tests.is_empty() {
            findings.push(format!("{PAGE}:{line}: a hazard without a test is not removed"));
        }
        for name in row.tests.iter().filter(|name| !tests.contains_key(*name)) {
            findings.push(format!("{PAGE}:{line}: there is no test {name}"));
        }
        for name in row.tests.iter().filter(|name| !name.starts_with(id)) {
            findings.push(format!("{PAGE}:{line}: {name} is another hazard's"));
        }
    }
    assert_tidy(&findings);
}

#[test]
fn every_mutant_is_named_and_says_what_it_takes_out_and_which_test_must_fail() {
    let (rows, tests) = (rows(), tests());
    let mut findings = Vec::new();
    let patches = names(&root().join("tests/mutants"));
    for patch in &patches {
        let path = format!("tests/mutants/{patch}");
        let text = read(&path).text;
        let id = patch.trim_end_matches(".patch");
        let named = rows.get(id).is_some_and(|row| row.mutant.as_deref() == Some(patch));
        if !named {
            findings.push(format!("{path}:1: {PAGE} does not name it"));
        }
        let target = text.lines().find_map(|line| line.strip_prefix("Test: "));
        let filter = target.and_then(|target| target.split_once(' ')).map(|(_, filter)| filter);
        let meant = |name: &String| filter.is_some_and(|filter| name.contains(filter));
        if !tests.keys().any(|name| name.starts_with(id) && meant(name)) {
            findings.push(format!("{path}:1: say `Test: TARGET FILTER`, with a test of {id}"));
        }
        if text.lines().next().is_none_or(|line| !line.ends_with('.')) {
            findings.push(format!("{path}:1: begin with a sentence on what it takes out"));
        }
    }
    for row in rows.values() {
        if let Some(mutant) = row.mutant.as_ref().filter(|mutant| !patches.contains(mutant)) {
            findings.push(format!("{PAGE}:{}: there is no tests/mutants/{mutant}", row.line));
        }
    }
    assert_tidy(&findings);
}
