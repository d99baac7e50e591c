//! The log keeps what it has, and a worker that finds otherwise stops before it writes.
//!
//! In these tests every client may do everything. That only an operator may change or delete a
//! stream is the task of the server's permissions. For example, the server accepts `retention:
//! interest`, whatever `deny_delete` says, and drops every event that all durables have settled.

use std::time::Duration;

use harness::process::Process;
use quadrille::topology::{Profile, Topology};
use schemas::order_fulfilment::FLOW;
use serde_json::{Value, json};
use tests::eventually::within_patience;
use tests::proxy::Proxy;
use tests::stack::{ACK_WAIT, Armed, Fate, Launch, Stack};

/// A worker that compares the live settings with the flow's five times a second.
async fn watchful(stack: &Stack, worker: &'static str) -> Process {
    let launch = Launch::of(worker).env("QUADRILLE_WORKER__INSPECT_EVERY", "200ms");
    let mut worker = stack.launcher().launch(&launch);
    worker.ready().await.unwrap();
    worker
}

/// Waits until a worker has stopped by itself, and says why in one line.
async fn stopped_because(worker: &mut Process) -> String {
    let name = worker.name();
    let status = within_patience(&format!("{name} stops"), worker.ended()).await;
    assert!(!status.success(), "{name} ended as if nothing were wrong");
    let said = worker.said();
    let lines: Vec<_> = said.lines().filter(|line| line.contains("the process ends")).collect();
    assert_eq!(lines.len(), 1, "{said}");
    let line: Value = serde_json::from_str(lines[0]).expect("a line of JSON");
    assert_eq!((&line["level"], &line["worker"]), (&json!("ERROR"), &json!(name)));
    line["error"].as_str().expect("a text").to_owned()
}

#[tokio::test]
async fn h13_no_request_removes_an_event() {
    let stack = Stack::running(1).await;
    let ids = stack.place_all("kept", &[Fate::Completes]).await;
    stack.closed(&ids).await;
    let story = stack.story(&ids[0]).await;
    let requests = [
        ("STREAM.MSG.DELETE", json!({ "seq": 1 })),
        ("STREAM.MSG.DELETE", json!({ "seq": 1, "no_erase": true })),
        ("STREAM.PURGE", Value::Null),
        ("STREAM.PURGE", json!({ "filter": "orders.placed.*" })),
        ("STREAM.PURGE", json!({ "seq": 3 })),
        ("STREAM.PURGE", json!({ "keep": 1 })),
    ];
    for (verb, body) in requests {
        let answer = stack.raw.api(&format!("{verb}.{}", FLOW.stream), body.clone()).await;
        assert!(answer.is_err(), "{verb} {body}: {answer:?}");
    }
    for change in [
        json!({ "deny_delete": false }),
        json!({ "deny_purge": false }),
        json!({ "allow_rollup_hdrs": true }),
        json!({ "allow_msg_schedules": true }),
        json!({ "retention": "workqueue" }),
        json!({ "storage": "memory" }),
    ] {
        let answer = stack.raw.change_stream(FLOW.stream, change.clone()).await;
        assert!(answer.is_err(), "{change}: {answer:?}");
    }
    for header in [
        ("Nats-Rollup", "all"),
        ("Nats-Rollup", "sub"),
        ("Nats-TTL", "1s"),
        ("Nats-Schedule", "@at 2100-01-01T00:00:00Z"),
        ("Nats-Marker-Reason", "MaxAge"),
    ] {
        let answer = stack.raw.publish("orders.placed.kept-0", &[header], "{}").await;
        assert!(answer.is_err(), "{header:?}: {answer:?}");
    }
    assert_eq!(stack.story(&ids[0]).await, story);
    stack.check().await;
}

#[tokio::test]
async fn h13_a_log_that_may_forget_stops_every_worker() {
    let stack = Stack::bare().await;
    let hour = 3_600_000_000_000_u64;
    // Each is a setting that the server lets an operator change while workers run.
    let drifts = [
        ("max_age", json!({ "max_age": hour, "duplicate_window": hour })),
        ("max_msgs", json!({ "max_msgs": 1_000_000 })),
        ("discard", json!({ "discard": "old", "discard_new_per_subject": false })),
        ("discard_new_per_subject", json!({ "discard_new_per_subject": false })),
        ("max_msgs_per_subject", json!({ "max_msgs_per_subject": 5 })),
        ("subjects", json!({ "subjects": ["orders.*.*", "more.>"] })),
        ("retention", json!({ "retention": "interest" })),
        // This is the last one, because the server does not take it back.
        ("allow_msg_ttl", json!({ "allow_msg_ttl": true })),
    ];
    let sound = stack.raw.stream(FLOW.stream).await["config"].clone();
    for (at, (key, drift)) in drifts.iter().enumerate() {
        let all = FLOW.steps.iter().map(|step| step.worker);
        // One worker is enough after the first time, because all workers share the comparison.
        let names: Vec<_> = if at == 0 { all.collect() } else { vec!["ship-order"] };
        let mut workers = Vec::new();
        for name in names {
            workers.push(watchful(&stack, name).await);
        }
        stack.raw.change_stream(FLOW.stream, drift.clone()).await.unwrap();
        for worker in &mut workers {
            let why = stopped_because(worker).await;
            assert!(why.contains(&format!("stream ORDERS: {key} is")), "{why}");
        }
        let unsound = stack.launcher().launch(&Launch::of("ship-order"));
        let why = stopped_because(&mut { unsound }).await;
        assert!(why.contains("the broker is not as the flow demands"), "{why}");
        if at < drifts.len() - 1 {
            stack.raw.change_stream(FLOW.stream, sound.clone()).await.unwrap();
        }
    }
}

/// Its effect is made, and its event is not: it sleeps, and its log is made anew meanwhile. Then it
/// wakes up.
async fn asleep_while_its_log_is_made_anew(url: &str, stack: &mut Stack) -> Process {
    let launch = Armed::at(stack, "asleep", "run.after-effect");
    let worker = launch.stops("charge-customer").env("QUADRILLE_NATS__URL", url);
    let mut worker = stack.launcher().launch(&worker);
    worker.ready().await.unwrap_or_else(|error| panic!("{error:#}"));
    stack.start_others("charge-customer").await;
    stack.fill_stock().await;
    stack.place_all("before", &[Fate::Completes; 10]).await;
    launch.happens().await;
    stack.raw.api(&format!("STREAM.DELETE.{}", FLOW.stream), Value::Null).await.unwrap();
    let topology = Topology { ack_wait: ACK_WAIT, ..Topology::new(&FLOW, Profile::Dev) };
    stack.provision(&topology).await;
    worker
}

#[tokio::test]
async fn h14_a_worker_that_slept_while_its_log_was_made_anew_stops_at_its_first_write() {
    let mut stack = Stack::bare().await;
    let url = stack.server.url();
    let mut worker = asleep_while_its_log_is_made_anew(&url, &mut stack).await;
    worker.resume();
    // Its durable is there again, so only the sequence of its event tells.
    let why = stopped_because(&mut worker).await;
    assert!(why.contains("not after"), "{why}");
}

#[tokio::test]
async fn h14_a_lost_answer_makes_a_worker_look_whether_its_log_is_the_same() {
    let mut stack = Stack::bare().await;
    let proxy = Proxy::to(&stack.server.url()).await;
    let mut worker = asleep_while_its_log_is_made_anew(&proxy.url(), &mut stack).await;
    // The new log is longer than the old one was, so no sequence tells.
    for at in 0..100 {
        stack.raw.publish(&format!("orders.placed.other-{at}"), &[], "{}").await.unwrap();
    }
    proxy.lose_answers_after("HPUB orders.payment.", Duration::from_secs(3));
    worker.resume();
    let why = stopped_because(&mut worker).await;
    assert!(why.contains("another stream"), "{why}");
}

#[tokio::test]
async fn h14_a_log_made_anew_stops_every_worker_and_none_writes() {
    let mut stack = Stack::running(1).await;
    for step in FLOW.steps {
        let worker = watchful(&stack, step.worker).await;
        stack.workers.push(worker);
    }
    let slow = json!({ "latency_ms": 300 });
    stack.sandbox.set_faults("payment", &slow).await;
    let ids = stack.place_all("before", &[Fate::Completes; 40]).await;
    stack.closed(&ids[..8]).await;
    // The other orders are under way, so this happens under load.
    stack.raw.api(&format!("STREAM.DELETE.{}", FLOW.stream), Value::Null).await.unwrap();
    let topology = Topology { ack_wait: ACK_WAIT, ..Topology::new(&FLOW, Profile::Dev) };
    stack.provision(&topology).await;
    for worker in &mut stack.workers {
        let why = stopped_because(worker).await;
        let reasons = ["was deleted", "another stream", "does not exist", "not after"];
        assert!(reasons.iter().any(|reason| why.contains(reason)), "{why}");
    }
    assert_eq!(stack.raw.messages(FLOW.stream).await, 0);
}
