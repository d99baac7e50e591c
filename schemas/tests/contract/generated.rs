//! The committed files are those the types make today.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use schemas::generated::{COMMAND, schemas, with_flows};

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[test]
fn the_committed_schemas_are_those_of_the_types() {
    for file in schemas() {
        let committed = fs::read_to_string(here(&file.path)).unwrap_or_default();
        assert!(committed == file.content, "{} is out of date: run `{COMMAND}`", file.path);
    }
}

#[test]
fn no_schema_is_left_of_a_type_that_is_gone() {
    let made: BTreeSet<_> = schemas().into_iter().map(|file| here(&file.path)).collect();
    for folder in fs::read_dir(here("json")).unwrap() {
        for file in fs::read_dir(folder.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            assert!(made.contains(&path), "{} belongs to no type: run `{COMMAND}`", path.display());
        }
    }
}

#[test]
fn the_readme_draws_the_flow_as_it_is() {
    let readme = fs::read_to_string(here("../README.md")).unwrap_or_default();
    assert!(readme == with_flows(&readme), "the README's flow is out of date: run `{COMMAND}`");
}

#[test]
fn a_picture_is_added_once_and_then_replaced_where_it_stands() {
    let first = with_flows("# Title\n");
    assert!(first.starts_with("# Title\n<!-- flow: generated -->\n```mermaid\nflowchart LR\n"));
    assert!(first.contains("```\n<!-- end -->\n<!-- subjects: generated -->\n| subject |"));
    assert!(first.ends_with(" |\n<!-- end -->\n"));

    let around = format!("{first}\nMore text.\n").replace("order.placed", "order.guessed");
    assert_eq!(with_flows(&around), format!("{first}\nMore text.\n"));
}

#[test]
fn a_schema_knows_its_dialect_its_type_and_what_is_required() {
    let placed = schemas().into_iter().find(|file| file.path.ends_with("/placed.v1.json")).unwrap();
    let schema: serde_json::Value = serde_json::from_str(&placed.content).unwrap();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert_eq!(schema["title"], "order.placed.v1");
    let required = serde_json::json!(["customer", "payment_method", "ship_to", "lines"]);
    assert_eq!(schema["required"], required);
    assert_eq!(schema["additionalProperties"], serde_json::Value::Null, "readers ignore unknowns");
}
