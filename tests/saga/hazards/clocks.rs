//! A replica whose clock is wrong decides nothing differently.
//!
//! Needs libfaketime (Debian's package `faketime`), which shifts the wall clock of one process and
//! does not change its monotonic clock, as a bad time server does. If it is missing, these tests
//! say so and pass.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use harness::process::Process;
use jiff::{SignedDuration, Timestamp};
use quadrille::log::envelope::Cause;
use schemas::order_fulfilment::FLOW;
use serde_json::{Value, json};
use tests::eventually::eventually;
use tests::stack::{Fate, Launch, Stack};
use tokio::task::JoinSet;
use tokio::time::interval;

use crate::by_hand::{saga, write};

/// Offsets as libfaketime reads them.
const AHEAD: &str = "+3600s";
const BEHIND: &str = "-3600s";

/// The library, or a line that says what is skipped, which `ops/test` repeats at its end.
fn library() -> Option<PathBuf> {
    let folders = ["x86_64-linux-gnu", "aarch64-linux-gnu"];
    let library = folders
        .map(|folder| Path::new("/usr/lib").join(folder).join("faketime/libfaketimeMT.so.1"))
        .into_iter()
        .find(|library| library.is_file());
    if library.is_none() {
        // Not with `println!`, because its output is shown only if a test fails.
        let _ = writeln!(std::io::stdout(), "h38: skipped, because libfaketime is not installed");
    }
    library
}

/// The process reads its wall clock's offset from `file`, each time again.
fn with_clock(launch: Launch, library: &Path, file: &Path) -> Launch {
    launch
        .env("LD_PRELOAD", library.display())
        .env("FAKETIME_TIMESTAMP_FILE", file.display())
        .env("FAKETIME_NO_CACHE", 1)
        .env("FAKETIME_DONT_FAKE_MONOTONIC", 1)
        .env("DONT_FAKE_MONOTONIC", 1)
}

/// How far the clock by which a worker's log is written is from this machine's.
fn shift(worker: &Process) -> SignedDuration {
    let said = worker.said();
    let line: Value = serde_json::from_str(said.lines().next().unwrap()).unwrap();
    let at: Timestamp = line["timestamp"].as_str().unwrap().parse().unwrap();
    at.duration_since(Timestamp::now())
}

#[tokio::test]
async fn h38_workers_whose_clocks_are_wrong_or_jump_end_every_order() {
    let Some(library) = library() else { return };
    let mut stack = Stack::running(1).await;
    for (name, offsets) in
        [("ahead", [AHEAD, AHEAD]), ("behind", [BEHIND, BEHIND]), ("jumps", [AHEAD, BEHIND])]
    {
        let file = stack.launcher().folder().join(name);
        std::fs::write(&file, offsets[0]).unwrap();
        // One replica of each has the wrong clock.
        for step in FLOW.steps {
            let launch = with_clock(Launch::of(step.worker), &library, &file);
            let off = shift(stack.start(launch).await).abs();
            assert!(off > SignedDuration::from_mins(50), "the clock is right: {off:?}");
        }
        let mut jumps = JoinSet::new();
        jumps.spawn(async move {
            let mut ticks = interval(Duration::from_millis(100));
            for offset in offsets.iter().cycle() {
                ticks.tick().await;
                // Replaced as a whole, because the workers read it all the time.
                let next = file.with_extension("next");
                std::fs::write(&next, offset).unwrap();
                std::fs::rename(&next, &file).unwrap();
            }
        });
        let fates: Vec<_> = Fate::ALL.iter().cycle().take(24).copied().collect();
        let ids = stack.place_all(name, &fates).await;
        stack.closed(&ids).await;
        stack.quiet().await;
        for mut worker in stack.workers.split_off(FLOW.steps.len()) {
            worker.shut_down().await;
        }
    }
    stack.check().await;
    // An event holds the broker's time, no matter which worker wrote it.
    let log = stack.history().await.log;
    for message in log.iter().filter(|message| !message.subject.starts_with("orders.placed.")) {
        let event: Value = serde_json::from_slice(&message.payload).unwrap();
        let time: Timestamp = event["time"].as_str().unwrap().parse().unwrap();
        let off = time.duration_since(message.at).abs();
        assert!(off < SignedDuration::from_secs(10), "{}: {off:?}", message.subject);
    }
}

#[tokio::test]
async fn h38_a_wait_is_as_long_as_it_is_whatever_the_clock_says() {
    let Some(library) = library() else { return };
    let mut stack = Stack::bare().await;
    let file = stack.launcher().folder().join("clock");
    // An hour ahead: a message that came a second ago is not old.
    std::fs::write(&file, AHEAD).unwrap();
    stack.start(with_clock(Launch::of("ship-order"), &library, &file)).await;
    let charged = json!({
        "payment": "pi_1",
        "amount": { "amount": 960, "currency": "EUR" },
        "ship_to": { "country": "DE", "postcode": "10115" },
        "pieces": 3,
    });
    let nowhere = Cause { id: "never".into(), sequence: 7 };
    let author = ("payment", "charge-customer");
    write(&stack, &saga("ghost"), author, ("payment.charged.v1", charged), nowhere).await;
    eventually("it was looked at several times", async || {
        let info = stack.raw.durable(FLOW.stream, "ship-order").await;
        (info["delivered"]["consumer_seq"].as_u64() >= Some(4)).then_some(())
    })
    .await;
    assert_eq!(stack.raw.messages("ORDERS_PARKED").await, 0);
    stack.worker("ship-order").shut_down().await;
    // An hour behind: it is old enough anyway.
    std::fs::write(&file, BEHIND).unwrap();
    let launch = Launch::of("ship-order").env("QUADRILLE_WORKER__CAUSE_WAIT", "1s");
    stack.start(with_clock(launch, &library, &file)).await;
    eventually("it is set aside", async || {
        (stack.raw.messages("ORDERS_PARKED").await == 1).then_some(())
    })
    .await;
}
