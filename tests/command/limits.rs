//! What a stranger may use up, and what a stop does to what is in hand.

use std::time::Duration;

use schemas::order_fulfilment::FLOW;
use tests::eventually::{eventually, within_patience};
use tests::stack::{Launch, Stack};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::desk::{JSON, good, open, open_one, read_one, request};

/// A request without the last byte of its body, and that byte.
fn all_but_one(id: &str) -> (Vec<u8>, [u8; 1]) {
    let mut bytes = request("POST", "/orders", &[JSON], good(Some(id)).to_string().as_bytes());
    let last = bytes.pop().unwrap();
    (bytes, [last])
}

#[tokio::test]
async fn a_command_too_many_is_told_to_come_again() {
    let mut stack = Stack::bare().await;
    let desk =
        open(&mut stack, Launch::of("command").env("QUADRILLE_COMMAND__CONCURRENCY", 1)).await;
    let (bytes, last) = all_but_one("slow");
    let mut slow = desk.connect().await;
    slow.write_all(&bytes).await.unwrap();
    let busy = eventually("the only place is taken", async || {
        let answer = desk.post(b"{}").await;
        (answer.status == 503).then_some(answer)
    })
    .await;
    assert_eq!(busy.header("retry-after"), Some("1"));
    let over_nats = desk.ask("orders.place", &[], good(Some("other")).to_string()).await;
    assert_eq!(over_nats.status, 503);
    slow.write_all(&last).await.unwrap();
    assert_eq!(read_one(&mut slow).await.status, 201);
    assert_eq!(desk.post(good(Some("other")).to_string()).await.status, 201);
}

#[tokio::test]
async fn idle_connections_are_bounded_in_number_and_in_time() {
    let mut stack = Stack::bare().await;
    let launch = Launch::of("command")
        .env("QUADRILLE_COMMAND__CONNECTIONS", 4)
        .env("QUADRILLE_COMMAND__READ_TIMEOUT", "2s");
    let desk = open(&mut stack, launch).await;
    let mut idle = Vec::new();
    for at in 0..4 {
        let mut stream = desk.connect().await;
        // One of them sends a head that never ends.
        if at == 0 {
            stream.write_all(b"POST /orders HTTP/1.1\r\nHost: x\r\nX: ").await.unwrap();
        }
        idle.push(stream);
    }
    let one_too_many = eventually("all places are taken", async || {
        let answer = desk.send(&request("GET", "/openapi.json", &[], b"")).await;
        (answer.status == 503).then_some(answer)
    })
    .await;
    assert_eq!(one_too_many.header("retry-after"), Some("1"));
    for mut stream in idle {
        let mut rest = Vec::new();
        within_patience("it is closed", stream.read_to_end(&mut rest)).await.unwrap();
        assert!(!rest.starts_with(b"HTTP/1.1 2"));
    }
    assert_eq!(desk.post(good(Some("A1")).to_string()).await.status, 201);
}

#[tokio::test]
async fn a_body_that_never_ends_is_given_up() {
    let mut stack = Stack::bare().await;
    let launch = Launch::of("command").env("QUADRILLE_COMMAND__READ_TIMEOUT", "1s");
    let desk = open(&mut stack, launch).await;
    let (bytes, _) = all_but_one("slow");
    let mut slow = desk.connect().await;
    slow.write_all(&bytes).await.unwrap();
    let answer = read_one(&mut slow).await;
    assert_eq!(answer.status, 408, "{answer:?}");
    assert_eq!(answer.header("connection"), Some("close"));
    assert_eq!(stack.raw.messages(FLOW.stream).await, 0);
}

#[tokio::test]
async fn a_stop_answers_what_is_in_hand_and_takes_nothing_new() {
    let mut stack = Stack::bare().await;
    let desk = open_one(&mut stack).await;
    let (bytes, last) = all_but_one("late");
    let mut late = desk.connect().await;
    late.write_all(&bytes).await.unwrap();
    // The request is in hand once its connection has a place, and another one is answered.
    assert_eq!(desk.post(good(Some("early")).to_string()).await.status, 201);
    let pid = stack.worker("command").pid();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    eventually("it takes no more connections", async || {
        tokio::net::TcpStream::connect(desk.address).await.err()
    })
    .await;
    late.write_all(&last).await.unwrap();
    let answer = read_one(&mut late).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    assert!(stack.worker("command").ended().await.success());
    assert_eq!(stack.raw.messages(FLOW.stream).await, 2);
}

#[tokio::test]
async fn orders_over_nats_during_a_rolling_restart_are_each_stored_once() {
    let mut stack = Stack::bare().await;
    let desk = open_one(&mut stack).await;
    open_one(&mut stack).await;
    for replica in 0..2 {
        let calls = futures::future::join_all((0..50).map(|at| {
            let desk = &desk;
            async move {
                let body = good(Some(&format!("r{replica}-{at}"))).to_string();
                // The client library drops what is on its way to a replica that unsubscribes, so a
                // caller that gets no answer asks again.
                eventually("the order is placed", async || {
                    let asked = desk.ask("orders.place", &[], body.clone());
                    let answer = tokio::time::timeout(Duration::from_secs(2), asked).await.ok()?;
                    assert!([200, 503].contains(&answer.status), "{answer:?}");
                    (answer.status == 200).then_some(())
                })
                .await;
            }
        }));
        let pid = stack.workers[replica].pid();
        let stop = async {
            rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        };
        tokio::join!(calls, stop);
        assert!(stack.workers[replica].ended().await.success());
        if replica == 0 {
            open_one(&mut stack).await;
        }
    }
    assert_eq!(stack.raw.messages(FLOW.stream).await, 100);
}

#[tokio::test]
async fn settings_that_make_no_sense_are_refused_at_the_start() {
    let stack = Stack::bare().await;
    for (name, value, said) in [
        ("QUADRILLE_COMMAND__CONCURRENCY", "0", "command.concurrency"),
        ("QUADRILLE_COMMAND__LISTEN", "here", "command.listen"),
        ("QUADRILLE_COMMAND__CALLER_HEADER", "no header", "command.caller_header"),
        ("QUADRILLE_COMMAND__LISTENS", "127.0.0.1:0", "listens"),
    ] {
        let launch =
            Launch::of("command").env("QUADRILLE_COMMAND__LISTEN", "127.0.0.1:0").env(name, value);
        let mut worker = stack.launcher().launch(&launch);
        assert!(!worker.ended().await.success(), "{name}={value}");
        assert!(worker.said().contains(said), "{name}={value}: {}", worker.said());
    }
}
