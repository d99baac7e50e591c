//! `quadrille dev` in one folder, again and again.

use std::time::Duration;

use harness::binaries::{Build, nats_server, program};
use harness::folder::Folder;
use harness::process::Process;
use quadrille::http::Client;
use serde_json::Value;
use tests::eventually::eventually;
use tokio::process::Command;
use tokio::time::Instant;

use crate::shop::quadrille;

fn dev(folder: &Folder, more: &[&str]) -> Process {
    let mut command = Command::new(program(Build::Shipped, "quadrille"));
    command.env_clear().env("QUADRILLE_NATS_SERVER", nats_server().unwrap());
    // As in the folder of an operator who has a broker elsewhere: it is not for this one.
    command.env("QUADRILLE_NATS__CREDENTIALS", "/nowhere/user.creds");
    command.args(["dev", "--data"]).arg(folder.file("data")).args(more);
    Process::start("dev", command, folder.path()).unwrap_or_else(|error| panic!("{error:#}"))
}

async fn addresses(folder: &Folder) -> Value {
    eventually("it says where it listens", async || {
        serde_json::from_slice(&std::fs::read(folder.file("data/dev.json")).ok()?).ok()
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_run_has_the_ports_of_the_first() {
    let folder = Folder::new("quadrille-");
    let mut seen = Vec::new();
    for _ in 0..2 {
        let mut running = dev(&folder, &["--no-demo"]);
        let mut addresses = addresses(&folder).await;
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
async fn a_demo_that_is_interrupted_says_so_with_its_exit_code() {
    let folder = Folder::new("quadrille-");
    let mut running = dev(&folder, &["--demo-only"]);
    addresses(&folder).await;
    let status = running.shut_down().await;
    assert_eq!(status.code(), Some(143), "{}", running.said());
    assert!(running.said().contains("interrupted before all orders had ended"));
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
