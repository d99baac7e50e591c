//! `replay`: the orders of a real run, played again by the real workers on a stack of their own.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use schemas::order_fulfilment::FLOW;
use serde_json::{Value, json};
use tests::eventually::eventually;
use tests::stack::{Build, Fate, Stack, program};
use tokio::process::Command;
use tokio::time::Instant;

use super::{Said, quadrille};

/// The command, with what an environment near production might hold.
fn command(folder: &Path, line: &str, gateway: &str) -> Command {
    let mut command = Command::new(program(Build::Shipped, "quadrille"));
    command
        .env_clear()
        .env("TMPDIR", folder)
        .env("QUADRILLE_CACHE", cache(folder))
        .env("QUADRILLE_FLOW__ORDER__STREAM", "SHOP")
        .env("QUADRILLE_FLOW__ORDER__PREFIX", "eu.shop")
        .env("QUADRILLE_CHARGE_CUSTOMER__URL", gateway)
        .env("QUADRILLE_SHIP_ORDER__URL", gateway)
        .env("QUADRILLE_SHIP_ORDER__QUOTE_URL", gateway)
        .args(line.split_whitespace());
    command
}

/// A folder that has the server where `ops/dev` puts the one that it fetches.
fn cache(folder: &Path) -> PathBuf {
    let found = harness::binaries::nats_server().expect("the tests start one too");
    let (cache, found) = (folder.join("cache"), found.canonicalize().expect("it is there"));
    let server = cache.join("nats-server/2.15.1/bin/nats-server");
    fs::create_dir_all(server.parent().expect("a folder")).expect("it can be made");
    if !server.exists() {
        std::os::unix::fs::symlink(found, server).expect("it can be linked");
    }
    cache
}

async fn replay(folder: &Path, line: &str, gateway: &str) -> Said {
    let output = command(folder, line, gateway).output().await.expect("it runs");
    let text = |bytes| String::from_utf8(bytes).expect("it prints text");
    Said { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

fn last_line(said: &Said) -> Value {
    let last = said.stdout.lines().last().unwrap_or_else(|| panic!("{}", said.stderr));
    serde_json::from_str(last).unwrap_or_else(|error| panic!("{error}: {}", said.stdout))
}

/// A listener in the place of the real services, and how often it was called.
fn real_services() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let (url, calls) = (format!("http://{}", listener.local_addr().unwrap()), Arc::default());
    let count: Arc<AtomicUsize> = Arc::clone(&calls);
    std::thread::spawn(move || {
        for _connection in listener.incoming() {
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    (url, calls)
}

/// Processes whose command line names this folder.
fn running_in(folder: &Path) -> usize {
    let name = folder.display().to_string();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let lines = processes.filter_map(|one| fs::read(one.path().join("cmdline")).ok());
    lines.filter(|line| String::from_utf8_lossy(line).contains(&name)).count()
}

/// `QUADRILLE_TEST_REPLAY`, for the long form.
fn orders() -> usize {
    #[expect(clippy::disallowed_methods, reason = "a test's own environment")]
    std::env::var("QUADRILLE_TEST_REPLAY").ok().and_then(|count| count.parse().ok()).unwrap_or(12)
}

#[tokio::test]
async fn a_replay_ends_as_the_log_and_dials_no_real_service() {
    let stack = Stack::running(1).await;
    let folder = tempfile::tempdir().unwrap();
    let count = orders();
    let fates: Vec<_> = Fate::ALL.into_iter().cycle().take(count).collect();
    let began = Instant::now();
    let ids = stack.place_all("again", &fates).await;
    let ended = stack.closed_within(&ids, Duration::from_secs(60 + count as u64 / 10)).await;
    ended.unwrap_or_else(|open| panic!("{open}"));
    println!("{count} orders ended in {:.1?}", began.elapsed());
    let exported = quadrille(&stack.server, "export").await.stdout;
    let log = folder.path().join("log.jsonl");
    let (gateway, calls) = real_services();
    let replayed = async |text: &str, line: &str| {
        fs::write(&log, text).unwrap();
        let line = format!("replay --log {} {line} --json", log.display());
        replay(folder.path(), &line, &gateway).await
    };
    let began = Instant::now();
    let said = replayed(&format!("{exported}garbage\n"), "").await;
    println!("replayed in {:.1?}: {}", began.elapsed(), said.stdout.lines().last().unwrap_or(""));
    let verdict = last_line(&said);
    assert_eq!(
        (said.code, &verdict["same"]),
        (Some(0), &json!(count)),
        "{}{}",
        said.stdout,
        said.stderr
    );
    assert!(said.stderr.contains("line ") && said.stderr.contains("cannot be read"));

    // As if a worker had decided otherwise then: exactly its orders differ.
    let of_one = |line: &&str| line.contains("orders.payment.again-4\"");
    let event = exported.lines().find(of_one).expect("again-4 is charged");
    let other = exported.replace(event, &event.replace("960", "961"));
    assert_ne!(other, exported);
    let said = replayed(&other, "").await;
    let differs: Value = serde_json::from_str(said.stdout.lines().next().unwrap()).unwrap();
    assert_eq!((said.code, &differs["order"]), (Some(1), &json!("again-4")), "{}", said.stdout);
    assert_eq!(
        (&differs["slot"], &last_line(&said)["same"]),
        (&json!("payment"), &json!(count - 1))
    );

    // The payment has another id than in the log, which no difference is.
    fs::write(&log, &exported).unwrap();
    let line = format!("replay again-4 --log {} --step", log.display());
    let said = replay(folder.path(), &line, &gateway).await;
    assert_eq!(said.code, Some(0), "{}{}", said.stdout, said.stderr);
    assert!(said.stdout.contains("  payment\n") && !said.stdout.contains('≠'), "{}", said.stdout);

    let none = replayed(&exported, "--from 999999").await;
    assert_eq!(none.code, Some(2));
    assert!(none.stderr.contains("no order that was placed in this range"), "{}", none.stderr);
    let strange = replayed(&exported.replace("\"orders.", "\"trips."), "").await;
    assert_eq!(strange.code, Some(2));
    assert!(strange.stderr.contains("of another flow"), "{}", strange.stderr);
    assert_eq!(calls.load(Ordering::SeqCst), 0, "the services of the environment are not called");
    assert_eq!(running_in(folder.path()), 0, "nothing is left");
}

#[tokio::test]
async fn a_replay_that_is_killed_leaves_nothing_running() {
    let stack = Stack::running(1).await;
    let folder = tempfile::tempdir().unwrap();
    let ids = stack.place_all("killed", &[Fate::Completes; 4]).await;
    stack.closed(&ids).await;
    let log = folder.path().join("log.jsonl");
    fs::write(&log, quadrille(&stack.server, "export").await.stdout).unwrap();
    let line = format!("replay --log {} --speed 0.0001", log.display());
    let mut running =
        command(folder.path(), &line, "http://127.0.0.1:1").spawn().expect("it starts");
    // Itself, the broker, the sandbox, and a worker for each step.
    let all = usize::from(running.id().is_some()) + 2 + FLOW.steps.len();
    eventually("its stack is up", async || (running_in(folder.path()) == all).then_some(())).await;
    running.kill().await.expect("our own child");
    eventually("all of it is gone", async || (running_in(folder.path()) == 0).then_some(())).await;
}
