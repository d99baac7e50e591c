//! A new version of a read model: the file of the old one serves until the new one is built.

use std::sync::Arc;
use std::time::Duration;

use quadrille_projection::rusqlite::Connection;
use quadrille_projection::{Happened, Projection, ReadModel, Rows, number, open};
use schemas::order_fulfilment::FLOW;
use tests::eventually::eventually;
use tests::stack::Stack;
use tokio::task::JoinSet;

use crate::writer;

static OLD: ReadModel = ReadModel {
    name: "seen",
    version: 1,
    readable_from: 1,
    tables: &["CREATE TABLE seen (sequence INTEGER)"],
    indexes: &[],
    apply: |happened: &Happened<'_>, rows: &mut Rows| {
        let sequence = number(happened.fact.sequence);
        rows.write("INSERT INTO seen (sequence) VALUES (?1)", [sequence]);
    },
};

static NEW: ReadModel = ReadModel {
    version: 2,
    tables: &["CREATE TABLE seen (sequence INTEGER, slot TEXT)"],
    apply: |happened: &Happened<'_>, rows: &mut Rows| {
        let sequence = number(happened.fact.sequence);
        let slot = quadrille_projection::text(&happened.fact.slot);
        rows.write("INSERT INTO seen (sequence, slot) VALUES (?1, ?2)", [sequence, slot]);
    },
    ..OLD
};

/// Cannot read what version 1 wrote.
static UNREADABLE: ReadModel = ReadModel { version: 3, readable_from: 3, ..NEW };

fn run(stack: &Stack, model: &'static ReadModel) -> (Projection, JoinSet<Vec<u32>>) {
    let folder = stack.launcher().folder().join("versions");
    let broker = Arc::new(stack.broker.clone());
    let (projection, runner) = open(&FLOW, model, broker, &folder).unwrap();
    let watched = projection.clone();
    let mut work = JoinSet::new();
    work.spawn(async move {
        let mut changes = watched.changes();
        let mut versions = Vec::new();
        let last = async {
            while versions.last() != Some(&model.version) {
                changes.changed().await.unwrap();
                let version = changes.borrow_and_update().version;
                if version.is_some() && versions.last() != version.as_ref() {
                    versions.extend(version);
                }
            }
        };
        runner.run(last).await;
        versions
    });
    (projection, work)
}

async fn count(projection: &Projection) -> u64 {
    let query =
        |rows: &Connection| rows.query_row("SELECT count(*) FROM seen", [], |row| row.get(0));
    projection.read(Duration::from_secs(10), query).await.expect("some file always serves").0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_old_version_serves_until_the_new_one_is_built() {
    let stack = Stack::bare().await;
    writer::write(&stack.raw, "early", 300).await;
    let log = stack.history().await.log;
    let known = log.iter().filter(|message| !message.subject.contains("UPPER")).count() as u64;
    let (first, mut work) = run(&stack, &OLD);
    assert_eq!(work.join_next().await.unwrap().unwrap(), [1]);
    assert_eq!(count(&first).await, known);
    drop(first);
    let (second, mut work) = run(&stack, &NEW);
    second.serves().await;
    let versions = eventually("the new version serves, and no read fails meanwhile", async || {
        assert_eq!(count(&second).await, known);
        work.try_join_next()
    })
    .await;
    assert_eq!(versions.unwrap(), [1, 2], "one after the other");
    drop(second);
    let (_third, mut work) = run(&stack, &UNREADABLE);
    assert_eq!(work.join_next().await.unwrap().unwrap(), [3], "what it cannot read does not serve");
}
