//! A log that is restored from a backup, made anew, or goes back to an older copy: the rows are
//! built anew, and an old token is refused.

use std::path::Path;

use bytes::Bytes;
use futures::StreamExt;
use schemas::order_fulfilment::FLOW;
use serde_json::{Value, json};
use tests::eventually::{eventually, within_patience};
use tests::raw;
use tests::stack::Stack;

use crate::asked::Query;
use crate::{fold, writer};

/// What `nats stream backup` saves.
struct Backup {
    description: Value,
    chunks: Vec<Bytes>,
}

async fn backup(stack: &Stack) -> Backup {
    let client = stack.client();
    let inbox = client.new_inbox();
    let mut chunks = client.subscribe(inbox.clone()).await.unwrap();
    let asked = json!({ "deliver_subject": inbox, "no_consumers": false });
    let verb = format!("STREAM.SNAPSHOT.{}", FLOW.stream);
    let answer = stack.raw.api(&verb, asked).await.unwrap();
    let mut saved = Vec::new();
    loop {
        let chunk = within_patience("a chunk comes", chunks.next()).await.expect("connected");
        if chunk.payload.is_empty() {
            break;
        }
        if let Some(reply) = chunk.reply {
            client.publish(reply, "".into()).await.unwrap();
        }
        saved.push(chunk.payload);
    }
    let description = json!({ "config": answer["config"], "state": answer["state"] });
    Backup { description, chunks: saved }
}

/// As `nats stream restore` does, once the stream is gone.
async fn restore(stack: &Stack, backup: Backup) {
    let verb = format!("STREAM.RESTORE.{}", FLOW.stream);
    let answer = stack.raw.api(&verb, backup.description).await.unwrap();
    let to = answer["deliver_subject"].as_str().expect("a subject").to_owned();
    for chunk in backup.chunks {
        stack.client().request(to.clone(), chunk).await.unwrap();
    }
    let done = stack.client().request(to, "".into()).await.unwrap();
    let done: Value = serde_json::from_slice(&done.payload).unwrap();
    assert_eq!(done["error"], Value::Null, "{done}");
}

async fn delete(stack: &Stack) {
    stack.raw.api(&format!("STREAM.DELETE.{}", FLOW.stream), Value::Null).await.unwrap();
}

/// Waits until the rows are of another incarnation than this one, and of this sequence.
async fn is_another(query: &Query, old: &str, sequence: u64) -> String {
    eventually("the projection is of the other log", async || {
        let (incarnation, at) = query.place().await?;
        (incarnation != old && at >= sequence).then_some(incarnation)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h48_a_restored_log_refuses_old_tokens_and_is_read_anew() {
    let stack = Stack::bare().await;
    let last = writer::write(&stack.raw, "early", 50).await;
    let query = Query::start(&stack, "query").await;
    query.reaches(last).await;
    let (old, _) = query.place().await.unwrap();
    let saved = backup(&stack).await;
    // It sees nothing of the moment in which there is no stream, nor of what the backup lacks.
    query.process.pause();
    stack.raw.publish("orders.placed.lost-1", &[], "{}").await.unwrap();
    delete(&stack).await;
    restore(&stack, saved).await;
    query.process.resume();
    let present = is_another(&query, &old, last).await;
    let refused = query.get(&format!("/orders?min_seq={old}-{last}")).await;
    assert_eq!(refused.status, 410, "{refused:?}");
    assert!(refused.json["detail"].as_str().unwrap().contains("restored"), "{refused:?}");
    // A bare sequence is of the log that is there.
    query.ok(&format!("/orders?min_seq={last}")).await;
    query.ok(&format!("/orders?min_seq={present}-{last}")).await;
    assert_eq!(query.get("/orders/lost-1").await.status, 404);
    let last = writer::write(&stack.raw, "late", 20).await;
    query.reaches(last).await;
    fold::assert_equal(&stack.history().await.log, &query.rows());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h48_a_log_made_anew_while_the_worker_was_down_is_read_anew() {
    let stack = Stack::bare().await;
    let last = writer::write(&stack.raw, "early", 50).await;
    let query = Query::start(&stack, "query").await;
    query.reaches(last).await;
    let (old, _) = query.place().await.unwrap();
    drop(query);
    let config = backup(&stack).await.description["config"].clone();
    delete(&stack).await;
    stack.raw.api(&format!("STREAM.CREATE.{}", FLOW.stream), config).await.unwrap();
    let last = writer::write(&stack.raw, "other", 10).await;
    let query = Query::start(&stack, "query").await;
    is_another(&query, &old, last).await;
    fold::assert_equal(&stack.history().await.log, &query.rows());
}

/// After such a loss the broker gives the same sequences to other events, in a stream of the same
/// age.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h48_a_store_restored_from_an_older_copy_is_read_anew() {
    let mut stack = Stack::bare().await;
    writer::write(&stack.raw, "early", 50).await;
    let copy = tempfile::tempdir().unwrap();
    stack.server.process.shut_down().await;
    copy_all(&stack.server.store(), copy.path());
    stack.server.restart().await;
    let query = Query::start(&stack, "query").await;
    let lost = writer::write(&stack.raw, "lost", 30).await;
    query.reaches(lost).await;
    stack.server.process.shut_down().await;
    std::fs::remove_dir_all(stack.server.store()).unwrap();
    copy_all(copy.path(), &stack.server.store());
    stack.server.restart().await;
    let last = writer::write(&stack.raw, "other", 100).await;
    assert!(last > lost, "the same sequences are used again");
    eventually("the rows are of the log that is there", async || {
        query.reaches(last).await;
        let (log, rows) = (stack.history().await.log, query.rows());
        (fold::expected(&log) == fold::actual(&rows)).then_some(())
    })
    .await;
}

/// Such headers end the connection of every client that the message is delivered to, some for good,
/// and then the process ends, which its supervisor starts again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_no_client_can_read_stops_no_projection() {
    let stack = Stack::bare().await;
    stack.raw.publish("orders.placed.early-1", &[], "{}").await.unwrap();
    let mut query = Query::start(&stack, "query").await;
    let headers: [&[u8]; 4] = [b"ce-bad: a\rb", b"A B: c", b"no colon", b"\xff: x"];
    for (at, header) in headers.into_iter().enumerate() {
        let header = [b"NATS/1.0\r\n", header, b"\r\n\r\n"].concat();
        let subject = format!("orders.placed.bad-{at}");
        raw::publish_bytes(&stack.server.url(), &subject, &header, "{}").await;
    }
    let last = stack.raw.publish("orders.placed.late-1", &[], "{}").await.unwrap();
    eventually("all of it is applied", async || {
        if query.process.has_ended().is_some() {
            query = Query::spawn(&stack, "query");
            query.find().await;
        }
        query.try_place().await.filter(|(_, sequence)| *sequence >= last)
    })
    .await;
    for at in 0..headers.len() {
        let one = query.ok(&format!("/orders/bad-{at}")).await;
        assert_eq!(one["events"].as_array().unwrap().len(), 1, "{one}");
    }
    assert!(query.process.has_ended().is_none(), "{}", query.process.said());
}

fn copy_all(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_all(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}
