//! The recipes for the stock client in `ops/replay.md`, run as they stand there.
//!
//! They need `nats` 0.5 or newer, which no registry of packages has: `QUADRILLE_NATS_CLI` names it.

use std::io::Write;
use std::path::Path;
use std::process::{Output, Stdio};

use jiff::Timestamp;
use tests::eventually::eventually;
use tests::stack::{Build, Fate, Launch, Stack, program};
use tokio::io::AsyncReadExt;
use tokio::process::Command;

use super::quadrille;

#[expect(clippy::disallowed_methods, reason = "a test's own environment")]
fn stock_client() -> Option<String> {
    let named = std::env::var("QUADRILLE_NATS_CLI").ok();
    if named.is_none() {
        // Not with `println!`, because its output is shown only if a test fails.
        let why = "recipes: skipped, because QUADRILLE_NATS_CLI names no stock client";
        let _ = writeln!(std::io::stdout(), "{why}");
    }
    named
}

/// The commands of a table's second column and of the steps below it, in backquotes.
fn recipes(heading: &str) -> Vec<String> {
    let page = include_str!("../../ops/replay.md");
    let section = page.split("\n## ").find(|section| section.starts_with(heading));
    let pieces = section.expect("it is there").split('`').skip(1).step_by(2);
    pieces.filter(|piece| piece.starts_with("nats ")).map(str::to_owned).collect()
}

fn shell(client: &str, stack: &Stack, folder: &Path, recipe: &str) -> Command {
    let line = recipe.replacen("nats", client, 1).replace("A123", "A123-0");
    let mut command = Command::new("sh");
    command.args(["-c", &line]).current_dir(folder).env("NATS_URL", stack.server.url());
    command.env("HOME", folder).stdin(Stdio::null()).kill_on_drop(true);
    command
}

async fn run(client: &str, stack: &Stack, folder: &Path, recipe: &str) -> String {
    let output = shell(client, stack, folder, recipe).output().await.expect("there is a shell");
    let Output { status, stdout, stderr } = output;
    let said = [stdout, stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(status.success(), "{recipe}: {said}");
    said
}

#[tokio::test]
async fn the_recipes_for_the_stock_client_do_what_they_say() {
    let Some(client) = stock_client() else { return };
    let stack = Stack::running(1).await;
    let folder = tempfile::tempdir().unwrap();
    let ids = stack.place_all("A123", &[Fate::Completes; 3]).await;
    stack.closed(&ids).await;
    for (at, recipe) in recipes("With stock tools").into_iter().enumerate() {
        match recipe.as_str() {
            "nats" | "nats backup" | "nats stream backup" => {}
            "nats sub 'orders.>'" => {
                // The client itself, so that it does not outlive the shell.
                let recipe = format!("exec {recipe}");
                let mut watch = shell(&client, &stack, folder.path(), &recipe);
                let mut watch = watch.stdout(Stdio::piped()).spawn().unwrap();
                let mut seen = watch.stdout.take().unwrap();
                let placed = async {
                    // Until the client has subscribed.
                    for at in 0.. {
                        let ids = stack.place_all(&format!("watch{at}"), &[Fate::Completes]).await;
                        stack.closed(&ids).await;
                    }
                };
                let watched = async {
                    let (mut text, mut piece) = (String::new(), [0; 4096]);
                    while !text.contains("orders.closed.watch") {
                        let read = seen.read(&mut piece).await.unwrap();
                        assert!(read > 0, "{text}");
                        text.push_str(&String::from_utf8_lossy(&piece[..read]));
                    }
                };
                tokio::select! { () = placed => {}, () = watched => {} }
                watch.kill().await.unwrap();
            }
            recipe if recipe.starts_with("nats consumer next") => {}
            recipe => {
                let recipe = recipe.replace("--start-sequence 4000", "--start-sequence 2");
                let recipe = recipe.replace("DIR", &format!("DIR{at}"));
                let said = run(&client, &stack, folder.path(), &recipe).await;
                let tells = recipe.contains(" sub ");
                assert!(!tells || said.contains("orders.closed.A123-0"), "{recipe}: {said}");
                let one = recipe.contains("A123");
                assert!(!one || !said.contains("A123-1"), "{recipe}: {said}");
            }
        }
    }
    let written = std::fs::read_dir(folder.path()).unwrap().flatten();
    let written = written.filter(|one| one.file_name().to_string_lossy().starts_with("DIR"));
    assert_eq!(written.count(), 2, "the log, and one order");
}

/// Reads a backup with a server of its own.
async fn audit(folder: &Path) -> (Option<i32>, String) {
    let mut command = Command::new(program(Build::Shipped, "quadrille"));
    let server = harness::binaries::nats_server().expect("the tests start one too");
    let output = command
        .env_clear()
        .env("QUADRILLE_NATS_SERVER", server)
        .arg("audit")
        .arg(folder)
        .output()
        .await
        .expect("it runs");
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into_owned())
}

#[tokio::test]
async fn a_persons_data_are_taken_out_and_the_rest_goes_on() {
    let Some(client) = stock_client() else { return };
    let mut stack = Stack::running(1).await;
    let folder = tempfile::tempdir().unwrap();
    let ids = stack.place_all("A123", &[Fate::Completes; 3]).await;
    stack.closed(&ids).await;
    stack.quiet().await;
    stack.workers.clear();
    let steps = recipes("Remove a message");
    assert_eq!(steps.len(), 4, "{steps:?}");
    for recipe in steps {
        let recipe = match recipe.as_str() {
            // Its question is for a person.
            "nats stream rm ORDERS" => "nats stream rm ORDERS --force".to_owned(),
            recipe => recipe.to_owned(),
        };
        run(&client, &stack, folder.path(), &recipe).await;
        if recipe.starts_with("nats backup edit") {
            let (code, said) = audit(&folder.path().join("CLEAN")).await;
            assert_eq!(code, Some(1), "{said}");
            assert!(said.contains("slots: 2 follows 0"), "{said}");
        }
    }
    let gone = async |slot: &str, id: &str| {
        let subject = format!("orders.{slot}.{id}");
        quadrille::broker::Broker::last(&stack.broker, "ORDERS", &subject).await.unwrap().is_none()
    };
    assert!(gone("placed", "A123-0").await && gone("closed", "A123-0").await);
    assert!(!gone("placed", "A123-1").await);
    let plan = quadrille(&stack.server, "topology plan --json").await;
    assert_eq!(plan.code, Some(0), "{}{}", plan.stdout, plan.stderr);
    for row in schemas::order_fulfilment::FLOW.steps {
        stack.start(Launch::of(row.worker)).await;
    }
    let name = format!("after-{}", Timestamp::now().as_second());
    let after = stack.place_all(&name, &[Fate::Completes, Fate::Declined]).await;
    eventually("orders end on the restored log", async || {
        stack.closed_within(&after, std::time::Duration::from_secs(10)).await.ok()
    })
    .await;
}

#[tokio::test]
async fn a_message_that_takes_a_slot_is_taken_out_and_its_order_goes_on() {
    let Some(client) = stock_client() else { return };
    let mut stack = Stack::running(1).await;
    let folder = tempfile::tempdir().unwrap();
    let slots = ["inventory", "payment", "pivot", "shipment", "closed", "payment-undo"];
    let mut ids = Vec::new();
    for slot in slots {
        stack.raw.publish(&format!("orders.{slot}.{slot}"), &[], "junk").await.unwrap();
        let fate = if slot == "payment-undo" { Fate::Declined } else { Fate::Completes };
        ids.push(quadrille::SagaId::parse(slot).unwrap());
        stack.place(ids.last().unwrap(), &tests::stack::order(fate, 0)).await.unwrap();
    }
    for slot in slots {
        eventually(&format!("it stands still at {slot}"), async || {
            let why = quadrille(&stack.server, &format!("why {slot} --json")).await.json();
            (why["code"] == "alien-event").then_some(())
        })
        .await;
    }
    stack.workers.clear();
    let runbook = include_str!("../../ops/runbooks/occupied-slot.md");
    let exclude = "--exclude-subject 'orders.payment.A123'";
    assert!(runbook.contains(exclude));
    let all = slots.map(|slot| exclude.replace("payment.A123", &format!("{slot}.{slot}")));
    for recipe in recipes("Remove a message") {
        let recipe = recipe.replace("rm ORDERS", "rm ORDERS --force");
        let recipe = recipe.replace("--exclude-subject 'orders.*.A123'", &all.join(" "));
        run(&client, &stack, folder.path(), &recipe).await;
    }
    for row in schemas::order_fulfilment::FLOW.steps {
        stack.start(Launch::of(row.worker)).await;
    }
    for slot in &slots[..5] {
        let retry = format!("parked retry {slot} --reason free --write");
        let said = quadrille(&stack.server, &retry).await;
        assert_eq!(said.code, Some(0), "{retry}: {}{}", said.stdout, said.stderr);
    }
    stack.closed_within(&ids, std::time::Duration::from_secs(40)).await.unwrap();
    let listed = quadrille(&stack.server, "parked ls --json").await.json();
    assert_eq!(listed, serde_json::json!([]));
    // Nothing was done twice: all is as in a log that never had the junk, but for its holes.
    let ledger = super::audit::ledger(&stack, folder.path()).await;
    let line = format!("audit --ledger {ledger} --at-rest --json");
    let said = quadrille(&stack.server, &line).await.json();
    let (completed, cancelled) = (said["completed"].clone(), said["cancelled"].clone());
    assert_eq!((completed, cancelled), (5.into(), 1.into()), "{said}");
    let broken: Vec<_> = said["broken"].as_object().unwrap().keys().collect();
    assert_eq!(broken, ["slots"], "{said}");
}
