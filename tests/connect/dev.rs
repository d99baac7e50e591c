//! `quadrille dev` in one folder, again and again.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use harness::binaries::{Build, nats_server, program};
use harness::folder::Folder;
use harness::process::Process;
use quadrille::http::Client;
use schemas::order_fulfilment::events::SAMPLE;
use serde_json::Value;
use tests::eventually::eventually;
use tests::raw::Raw;
use tokio::process::Command;
use tokio::time::{Instant, timeout};

use crate::shop::quadrille;

fn dev(folder: &Folder, more: &[&str]) -> Process {
    dev_on(&nats_server().unwrap(), folder, more)
}

fn dev_on(server: &Path, folder: &Folder, more: &[&str]) -> Process {
    let mut command = Command::new(program(Build::Shipped, "quadrille"));
    command.env_clear().env("QUADRILLE_NATS_SERVER", server);
    // As in the folder of an operator who has a broker elsewhere: it is not for this one.
    command.env("QUADRILLE_NATS__CREDENTIALS", "/nowhere/user.creds");
    command.args(["dev", "--data"]).arg(folder.file("data")).args(more);
    Process::start("dev", command, folder.path()).unwrap_or_else(|error| panic!("{error:#}"))
}

async fn addresses(folder: &Folder, running: &Process) -> Value {
    let told = eventually("it says where it listens", async || {
        serde_json::from_slice(&std::fs::read(folder.file("data/dev.json")).ok()?).ok()
    });
    let told = timeout(Duration::from_secs(55), told).await;
    told.unwrap_or_else(|_| panic!("it does not say where it listens: {}", running.said()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_run_has_the_ports_of_the_first() {
    let folder = Folder::new("quadrille-");
    let mut seen = Vec::new();
    for _ in 0..2 {
        let mut running = dev(&folder, &["--no-demo"]);
        let mut addresses = addresses(&folder, &running).await;
        let worker = &addresses["workers"]["charge-customer"];
        let url = worker.as_str().expect("an address").to_owned();
        let health = Client::new(&url, None, Duration::from_secs(5)).unwrap();
        let soon = Instant::now() + Duration::from_secs(5);
        assert_eq!(health.get("/ready", soon).await.unwrap().status.as_u16(), 200);
        (addresses["pid"], addresses["workers"]) = (Value::Null, Value::Null);
        seen.push(addresses);
        assert!(running.shut_down().await.success(), "{}", running.said());
    }
    assert_eq!(seen[0], seen[1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_run_says_what_the_first_has_left_set_aside_or_paused() {
    let folder = Folder::new("quadrille-");
    let mut first = dev(&folder, &["--no-demo"]);
    let url = addresses(&folder, &first).await["nats"].as_str().expect("a URL").to_owned();
    let welcome = "Quadrille is running";
    eventually("it runs", async || first.said().contains(welcome).then_some(())).await;
    assert!(!first.said().contains("already"), "{}", first.said());
    let raw = Raw::connect(std::slice::from_ref(&url)).await;
    raw.publish("orders.placed.left", &[], "junk").await.unwrap();
    eventually("it is set aside", async || {
        let said = first.said();
        said.contains("set order left aside").then_some(())
    })
    .await;
    let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(600);
    raw.pause("ORDERS", "ship-order", soon).await;
    assert!(first.shut_down().await.success(), "{}", first.said());
    let second = dev(&folder, &["--no-demo"]);
    eventually("it says what is left", async || {
        let said = second.said();
        let aside = said.contains("1 message is set aside already, of left; `");
        (aside && said.contains("ship-order is paused already; `")).then_some(())
    })
    .await;
}

/// On a server that answers everything but what is asked to tell what an earlier run has left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_runs_on_though_it_cannot_say_what_the_run_before_has_left() {
    let folder = Folder::new("quadrille-");
    let (settings, server) = (folder.file("nats.conf"), folder.file("server"));
    let denied = r#"["$JS.API.DIRECT.GET.ORDERS_PARKED", "$JS.API.STREAM.MSG.GET.ORDERS_PARKED"]"#;
    let user = format!("{{user: a, password: a, permissions: {{publish: {{deny: {denied}}}}}}}");
    let text = format!("authorization: {{users: [{user}]}}\nno_auth_user: a\n");
    std::fs::write(&settings, text).unwrap();
    let real = nats_server().unwrap();
    let script = format!("#!/bin/sh\nexec {} -c {} \"$@\"\n", real.display(), settings.display());
    std::fs::write(&server, script).unwrap();
    std::fs::set_permissions(&server, std::fs::Permissions::from_mode(0o755)).unwrap();
    let set_aside = async |running: &Process, id: &str| {
        let url = addresses(&folder, running).await["nats"].as_str().expect("a URL").to_owned();
        let raw = Raw::connect(&[url]).await;
        raw.publish(&format!("orders.placed.{id}"), &[], "junk").await.unwrap();
        let aside = format!("set order {id} aside");
        eventually("it is told", async || running.said().contains(&aside).then_some(())).await;
    };
    let mut first = dev(&folder, &["--no-demo"]);
    let up = "Quadrille is running";
    eventually("it runs", async || first.said().contains(up).then_some(())).await;
    set_aside(&first, "left").await;
    assert!(first.shut_down().await.success(), "{}", first.said());
    let mut second = dev_on(&server, &folder, &["--no-demo"]);
    let cannot = "cannot tell what an earlier run has left: ";
    eventually("it says so", async || second.said().contains(cannot).then_some(())).await;
    set_aside(&second, "more").await;
    assert!(second.shut_down().await.success(), "{}", second.said());
}

/// In a folder where no command finds it by itself, because its data are elsewhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lines_to_try_work_as_printed_and_reach_this_broker() {
    let folder = Folder::new("quadrille-");
    let running = dev(&folder, &["--no-demo"]);
    let url = addresses(&folder, &running).await["nats"].as_str().expect("a URL").to_owned();
    let last = "What the outside world saw:";
    eventually("it says what to try", async || running.said().contains(last).then_some(())).await;
    let said = running.said();
    let lines = said.lines().skip_while(|line| !line.starts_with("Try, in another terminal"));
    let lines: Vec<_> = lines.skip(1).map_while(|line| line.strip_prefix("  ")).collect();
    assert_eq!(lines[0], format!("export NATS_URL={url}"));
    let program = program(Build::Shipped, "quadrille").display().to_string();
    let stock = format!("{program} stock show");
    assert!(lines.contains(&stock.as_str()), "{lines:?}");
    let typed = [lines[0], lines[1], &stock].join(" && ");
    let mut shell = Command::new("bash");
    shell.env_clear().args(["-c", &typed]).current_dir(folder.path());
    let output = shell.output().await.unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{typed}: {text}");
    assert!(text.contains("completed after"), "{text}");
    let raw = Raw::connect(std::slice::from_ref(&url)).await;
    raw.publish("orders.placed.left", &[], "junk").await.unwrap();
    let look = format!("`{program} --nats {url} ");
    eventually("the news names the broker", async || running.said().contains(&look).then_some(()))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_broker_runs_alone_on_the_log_that_a_run_has_left() {
    let page = include_str!("../../ops/replay.md");
    assert!(page.contains("`ops/dev --only-broker`"), "this test is of what the page says");
    let folder = Folder::new("quadrille-");
    let mut first = dev(&folder, &["--no-demo"]);
    let url = addresses(&folder, &first).await["nats"].as_str().expect("a URL").to_owned();
    let raw = Raw::connect(std::slice::from_ref(&url)).await;
    raw.publish("orders.placed.left", &[], "junk").await.unwrap();
    assert!(first.shut_down().await.success(), "{}", first.said());
    let mut alone = dev(&folder, &["--only-broker"]);
    let export = format!("export NATS_URL={url}");
    eventually("it says where it is", async || alone.said().contains(&export).then_some(())).await;
    let raw = Raw::connect(std::slice::from_ref(&url)).await;
    assert_eq!(raw.messages("ORDERS").await, 1);
    let pulls = raw.durable("ORDERS", "reserve-inventory").await;
    assert_eq!(pulls["num_waiting"], 0, "no worker runs");
    assert!(alone.shut_down().await.success(), "{}", alone.said());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_log_is_made_where_only_the_broker_is_to_run() {
    let folder = Folder::new("quadrille-");
    let mut alone = dev(&folder, &["--only-broker"]);
    let status = timeout(Duration::from_secs(55), alone.ended()).await.expect("it refuses");
    assert_eq!(status.code(), Some(1), "{}", alone.said());
    let said = alone.said();
    assert!(said.contains("there is no log in ") && said.contains("--data DIR"), "{said}");
    assert!(!folder.file("data").exists(), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_demo_that_is_interrupted_says_so_with_its_exit_code() {
    let folder = Folder::new("quadrille-");
    let mut running = dev(&folder, &["--demo-only"]);
    addresses(&folder, &running).await;
    let status = running.shut_down().await;
    assert_eq!(status.code(), Some(143), "{}", running.said());
    assert!(running.said().contains("interrupted before all orders had ended"));
}

/// Mistakes of the first hour: an order with several mistakes, and one under a mistyped subject.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_newcomer_does_wrong_is_told_at_once_and_by_one_name_everywhere() {
    let folder = Folder::new("quadrille-");
    let running = dev(&folder, &["--no-demo"]);
    let addresses = addresses(&folder, &running).await;
    eventually("it runs", async || running.said().contains("Quadrille is running").then_some(()))
        .await;
    let at = running.said();
    let place = |what: &str| at.find(&format!("  {what} ")).expect("an address");
    assert!(place("page") < place("orders") && place("orders") < place("broker"), "{at}");
    let url = addresses["nats"].as_str().expect("a URL").to_owned();
    let raw = Raw::connect(std::slice::from_ref(&url)).await;
    let wrong = r#"{"customer":"","lines":[{"sku":"ROSE-RED","quantity":0}]}"#;
    raw.publish("orders.placed.wrong", &[], wrong).await.unwrap();
    raw.publish("orders.palced.typo", &[], SAMPLE).await.unwrap();
    let aside = "reserve-inventory set order wrong aside: invalid-field at ";
    eventually("the terminal tells", async || running.said().contains(aside).then_some(())).await;
    assert!(running.said().contains("parked show wrong"), "{}", running.said());

    let variables = vec![("QUADRILLE_NATS__URL", url)];
    let said = async |line: &str| {
        let said = quadrille(&variables, line).await;
        format!("{}{}", said.stdout, said.stderr)
    };
    for line in ["why wrong", "trace wrong", "parked show wrong"] {
        let said = said(line).await;
        assert!(!said.contains("missing field"), "in the words of the field: {line}: {said}");
        for mistake in ["reference must be", "/ship_to is missing", "/lines/0/unit_price"] {
            assert_eq!(said.matches(mistake).count(), 1, "{line}, once {mistake}: {said}");
        }
    }
    for line in ["why typo", "trace typo", "orders find typo"] {
        let said = said(line).await;
        assert!(said.contains("nobody reads its subject, orders.palced.typo"), "{line}: {said}");
        assert!(said.contains("was orders.placed.typo meant?"), "{line}: {said}");
    }
    let mut lists = Vec::new();
    for line in [
        "open --json",
        "orders ls --json",
        "orders ls --state open --json",
        "orders ls --state parked --json",
        "orders find wrong --json",
    ] {
        let row: Value = serde_json::from_str(&quadrille(&variables, line).await.stdout).unwrap();
        let row = row.get("saga").unwrap_or(&row);
        lists.push(["id", "state", "waits_for", "reason"].map(|name| row[name].clone()));
    }
    assert_eq!(lists[0], ["wrong", "parked", "reserve-inventory", "invalid-field"]);
    assert!(lists.iter().all(|list| *list == lists[0]), "{lists:?}");
    assert_eq!(
        quadrille(&variables, "parked discard wrong --reason x --write").await.code,
        Some(0)
    );
    eventually("it is taken back", async || {
        let told = said("trace wrong").await;
        let end = told.lines().rev().find(|line| !line.is_empty()).unwrap_or_default();
        (end.starts_with("cancelled after") && told.contains("\nwas parked by")).then_some(())
    })
    .await;
    let why = said("why wrong").await;
    assert!(why.contains("asked for it (x)"), "{why}");
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    for flag in ["--port", "--query-port"] {
        let said = quadrille(&Vec::new(), &format!("dev --ephemeral {flag} {port}")).await;
        let told = format!("port {port} is taken by another program");
        assert_eq!(said.code, Some(1));
        assert!(said.stderr.contains(&told) && said.stderr.contains(flag), "{}", said.stderr);
    }
}

#[tokio::test]
async fn a_flag_that_names_another_broker_is_refused() {
    let none = Vec::new();
    let said = quadrille(&none, "dev --nats nats://a --demo-only").await;
    assert_eq!(said.code, Some(1));
    assert!(said.stderr.contains("--nats is not for `dev`: it runs a broker of its own"));
    let said = quadrille(&none, "completions bash --creds x.creds").await;
    assert!(said.stderr.contains("--creds is not for `completions`"), "{}", said.stderr);
}
