//! H48: the rows are exactly the fold of the log, whenever the worker is killed.

use std::time::Duration;

use futures::StreamExt;
use harness::process::Process;
use serde_json::{Value, json};
use tests::eventually::{eventually, within_patience};
use tests::stack::{Armed, Stack};
use tokio::time::sleep;

use crate::asked::{Query, launch};
use crate::held::said;
use crate::{fold, writer};

/// Kills: 20, or as many as the environment says.
#[expect(clippy::disallowed_methods, reason = "tests have no config; this is its one reader")]
fn kills() -> u64 {
    std::env::var("QUADRILLE_TEST_KILLS").map_or(20, |text| text.parse().expect("a number"))
}

async fn compare(stack: &Stack, query: &Query, last: u64) {
    query.reaches(last).await;
    let history = stack.history().await;
    fold::assert_equal(&history.log, &query.rows());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h48_a_projection_killed_at_random_is_the_fold_of_the_log() {
    let stack = Stack::bare().await;
    let mut last = writer::write(&stack.raw, "early", 200).await;
    for round in 0..kills() {
        let query = Query::spawn(&stack, "query");
        let orders = async { writer::write(&stack.raw, &format!("round-{round}"), 330).await };
        let fault = async {
            sleep(Duration::from_millis(fastrand::u64(20..400))).await;
            query.process.kill();
        };
        (last, ()) = tokio::join!(orders, fault);
        if round % 10 == 0 {
            compare(&stack, &Query::start(&stack, "query").await, last).await;
        }
    }
    compare(&stack, &Query::start(&stack, "query").await, last).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h48_rows_and_checkpoint_are_stored_together_or_not_at_all() {
    let stack = Stack::bare().await;
    // The first file is built at once, so that what is killed is the follower's transaction.
    drop(Query::start(&stack, "query").await);
    let armed = Armed::at(&stack, "rows", "run.rows-before-checkpoint");
    for (round, hit) in [1, 2, 5].into_iter().enumerate() {
        let armed_launch = launch(&stack, "query", armed.kills_at_hit("query", hit));
        let mut process: Process = stack.launcher().launch(&armed_launch);
        process.ready().await.unwrap_or_else(|error| panic!("{error:#}"));
        let mut last = 0;
        for order in 0.. {
            if armed.times() > round {
                break;
            }
            last = writer::write(&stack.raw, &format!("round-{round}-{order}"), 1).await;
            // So that there are several transactions.
            sleep(Duration::from_millis(100)).await;
        }
        drop(process);
        compare(&stack, &Query::start(&stack, "query").await, last).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebuild_beside_the_rows_fails_no_read_and_comes_to_the_same() {
    let stack = Stack::bare().await;
    let last = writer::write(&stack.raw, "early", 1_000).await;
    let query = Query::start(&stack, "query").await;
    query.reaches(last).await;
    let before = std::fs::read_link(query.link()).unwrap();
    let client = stack.client();
    let asked = client.request("orders.rebuild", "".into()).await.expect("it answers");
    let asked: Value = serde_json::from_slice(&asked.payload).unwrap();
    assert!(asked["replica"].is_string(), "{asked}");
    let reads = async {
        let mut newest = 0;
        loop {
            let page = query.ok("/orders?limit=5").await;
            let at = page["as_of"]["sequence"].as_u64().unwrap();
            assert!(at >= newest, "no reader sees the past: {at} after {newest}");
            newest = at;
            if std::fs::read_link(query.link()).unwrap() != before {
                return;
            }
        }
    };
    let orders = writer::write(&stack.raw, "late", 300);
    let reads = within_patience("another file serves", reads);
    let (last, ()) = tokio::join!(orders, reads);
    compare(&stack, &query, last).await;
    let old = query.link().with_file_name(before);
    eventually("the old file is deleted", async || (!old.exists()).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_several_replicas_the_one_that_is_named_is_built_anew() {
    let stack = Stack::bare().await;
    let last = writer::write(&stack.raw, "early", 50).await;
    let both = [Query::start(&stack, "query").await, Query::start(&stack, "other").await];
    for query in &both {
        query.reaches(last).await;
    }
    let links = || both.each_ref().map(|query| std::fs::read_link(query.link()).unwrap());
    let before = links();
    let replica = both[1].ok("/projections").await["replica"].as_str().unwrap().to_owned();
    let (_, shown, note) = said(&stack, "rebuild").await;
    assert_eq!(shown.matches("replica ").count(), 2, "{shown}");
    let call = format!("--replica {replica} --write`");
    assert!(note.contains(&call) && note.contains("nothing was changed"), "{note}");
    let (code, shown, note) = said(&stack, "rebuild --write").await;
    assert_eq!((code, shown.as_str(), links() == before), (Some(1), "", true), "{note}");
    assert!(note.contains("several query workers") && note.contains(&call), "{note}");
    let (_, _, note) = said(&stack, &format!("rebuild --replica {replica} --write")).await;
    assert!(note.contains(&format!("replica {replica}: built anew in ")), "{note}");
    let after = links();
    assert!(after[0] == before[0] && after[1] != before[1], "{before:?} {after:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_replica_is_built_anew_that_may_be_one_of_several() {
    let stack = Stack::bare().await;
    let last = writer::write(&stack.raw, "early", 50).await;
    let both = [Query::start(&stack, "query").await, Query::start(&stack, "other").await];
    for query in &both {
        query.reaches(last).await;
    }
    let links = || both.each_ref().map(|query| std::fs::read_link(query.link()).unwrap());
    let before = links();
    // One of them says nothing until the tool looks a second time.
    both[1].process.pause();
    let mut looks = stack.raw.hear("query.each.projections").await;
    let answers_late = async {
        let mut seen = 0;
        eventually("it looks again", async || {
            seen += looks.more().await.len();
            (seen > 1).then_some(())
        })
        .await;
        both[1].process.resume();
    };
    let ((code, _, note), ()) = tokio::join!(said(&stack, "rebuild --write"), answers_late);
    assert_eq!((code, links() == before), (Some(1), true), "{note}");
    assert!(note.contains("several query workers run (2 of them)"), "{note}");
}

/// As those of an earlier version.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_does_not_answer_to_all_is_built_anew_by_its_name_alone() {
    let stack = Stack::bare().await;
    let client = stack.client();
    let mut asked = client.queue_subscribe("orders.projections", "q".to_owned()).await.unwrap();
    let answer = json!({ "replica": "old1", "projections": [{ "name": "orders" }], "as_of": {} });
    let answering = async {
        while let Some(message) = asked.next().await {
            let to = message.reply.expect("a request");
            client.publish(to, answer.to_string().into()).await.unwrap();
        }
    };
    let mut heard = stack.raw.hear("query.old1.>").await;
    let (code, _, note) = tokio::select! {
        said = said(&stack, "rebuild --write") => said,
        () = answering => unreachable!("the server is there"),
    };
    assert_eq!((code, heard.more().await), (Some(1), vec![]), "{note}");
    assert!(note.contains("--replica old1 --write`"), "{note}");
}

/// The file is worth nothing that the log does not have.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_damaged_or_deleted_is_built_anew() {
    let stack = Stack::bare().await;
    let last = writer::write(&stack.raw, "early", 300).await;
    let query = Query::start(&stack, "query").await;
    query.reaches(last).await;
    // While it serves.
    let file = query.link().with_file_name(std::fs::read_link(query.link()).unwrap());
    std::fs::remove_file(&file).unwrap();
    eventually("another file serves", async || query.link().exists().then_some(())).await;
    let last = writer::write(&stack.raw, "middle", 20).await;
    compare(&stack, &query, last).await;
    // While it does not; the first pages, which say what the file is, are sound.
    drop(query);
    let file = std::fs::canonicalize(stack.launcher().folder().join("query/0/orders.db")).unwrap();
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[16 * 4_096..].fill(0x55);
    std::fs::write(&file, bytes).unwrap();
    let query = Query::start(&stack, "query").await;
    let last = writer::write(&stack.raw, "late", 20).await;
    compare(&stack, &query, last).await;
}
