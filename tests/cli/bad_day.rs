//! What an operator sees of a bad day: what no client can read, junk in the stock, a log that is
//! nearly full, a pause that somebody forgot, and a worker without its settings.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use schemas::order_fulfilment::FLOW;
use serde_json::json;
use tests::eventually::eventually;
use tests::raw::publish_bytes;
use tests::stack::{Fate, Launch, Stack};

use super::quadrille;

#[tokio::test]
async fn a_trace_says_of_a_message_that_no_client_can_read_what_it_is() {
    let stack = Stack::running(1).await;
    let shapes: [&[u8]; 3] = [
        b"NATS/1.0\r\nA: b\rc\r\n\r\n",
        b"NATS/1.0\r\nno colon\r\n\r\n",
        b"NATS/1.0\r\nA: \xff\r\n\r\n",
    ];
    for (at, shape) in shapes.iter().enumerate() {
        let subject = format!("orders.placed.bad-{at}");
        publish_bytes(&stack.server.url(), &subject, shape, "{}").await;
        let told = eventually("the trace says why it is parked", async || {
            let told = quadrille(&stack.server, &format!("trace bad-{at}")).await;
            assert!(!told.stderr.contains("panicked"), "{}", told.stderr);
            told.stdout.contains("malformed-header").then_some(told)
        })
        .await;
        assert_eq!(told.code, Some(0), "{}", told.stderr);
    }
}

/// Nobody placed it: a client that may write there wrote one event.
#[tokio::test]
async fn a_trace_of_an_order_that_was_never_placed_fails_whatever_else_is_there() {
    let stack = Stack::bare().await;
    let event = json!({
        "specversion": "1.0", "id": "1", "source": "complete-order", "subject": "never",
        "type": "order.completed.v1", "data": {},
    });
    stack.raw.publish("orders.closed.never", &[], &event.to_string()).await.unwrap();
    let told = quadrille(&stack.server, "trace never").await;
    assert_eq!(told.code, Some(1), "{}", told.stdout);
    assert!(told.stderr.contains("no order never was opened"), "{}", told.stderr);
    assert!(told.stdout.contains("order.completed"), "{}", told.stdout);
}

fn copy(from: &Path, to: &Path) {
    let copied = std::process::Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(copied.unwrap().success());
}

/// As after a power cut of a server that does not sync: what was acknowledged is gone.
#[tokio::test]
async fn a_log_that_came_back_shorter_is_said_by_every_worker() {
    let mut stack = Stack::bare().await;
    for row in FLOW.steps {
        stack.start(Launch::of(row.worker).env("QUADRILLE_WORKER__INSPECT_EVERY", "1s")).await;
    }
    stack.fill_stock().await;
    let early = stack.place_all("early", &[Fate::Completes; 3]).await;
    stack.closed(&early).await;
    let kept = tempfile::tempdir().unwrap();
    let messages = stack.server.store().join("jetstream/$G/streams/ORDERS/msgs");
    stack.server.process.shut_down().await;
    copy(&messages, kept.path());
    stack.server.restart().await;
    let lost = stack.place_all("lost", &[Fate::Completes; 3]).await;
    stack.closed(&lost).await;
    // It measures both when it looks.
    let last = eventually("each worker has seen the end", async || {
        let state = &stack.raw.stream("ORDERS").await["state"];
        let line = format!("quadrille_stream_bytes{{stream=\"ORDERS\"}} {}", state["bytes"]);
        for row in FLOW.steps {
            let page = stack.worker(row.worker).page("/metrics").await.ok()?;
            page.lines().find(|seen| *seen == line)?;
        }
        state["last_seq"].as_u64()
    })
    .await;
    stack.server.process.shut_down().await;
    std::fs::remove_dir_all(&messages).unwrap();
    copy(&kept.path().join("msgs"), &messages);
    stack.server.restart().await;
    for row in FLOW.steps {
        eventually("the worker says that its log is shorter", async || {
            let said = stack.worker(row.worker).said();
            let is_said = said.lines().any(|line| {
                line.contains("ERROR")
                    && line.contains("came back shorter")
                    && line.contains(&format!("\"was\":{last}"))
            });
            is_said.then_some(())
        })
        .await;
    }
    // The server takes the durables back to the new end, so nothing but the workers knows.
    let told = quadrille(&stack.server, &format!("trace {}", lost[0])).await;
    assert_eq!(told.code, Some(1), "{}", told.stdout);
}

#[tokio::test]
async fn any_number_of_skus_is_shown_and_a_junk_level_is_mended_by_setting_it() {
    let mut stack = Stack::running(1).await;
    for first in [0, 600] {
        let items: Vec<_> = (first..first + 600).map(|at| format!("S{at}=5")).collect();
        let set = quadrille(&stack.server, &format!("stock set {}", items.join(" "))).await;
        assert_eq!(set.code, Some(0), "{}", set.stderr);
    }
    let shown = quadrille(&stack.server, "stock show --json").await;
    assert!(shown.json().as_array().expect("a list").len() >= 1_200, "{}", shown.stderr);
    stack.raw.publish("stock.sku.S7", &[], "junk").await.expect("another team's client may");
    let others = quadrille(&stack.server, "stock show --json").await;
    assert!(others.json().as_array().expect("a list").len() >= 1_199, "{}", others.stderr);
    // A worker whose opening stock names it starts all the same, and leaves it alone.
    stack.worker("reserve-inventory").shut_down().await;
    stack.workers.retain(|worker| worker.name() != "reserve-inventory");
    let opening = ("QUADRILLE_RESERVE_INVENTORY__OPENING_STOCK", "S7=100,NEW=3");
    stack.start(Launch::of("reserve-inventory").env(opening.0, opening.1)).await;
    let ids = stack.place_all("beside", &[Fate::Completes; 3]).await;
    stack.closed(&ids).await;
    let set = quadrille(&stack.server, "stock set S7=9 --json").await;
    assert_eq!(set.json(), json!([{ "sku": "S7", "stocked": 9, "free": 9, "held": 0 }]));
}

#[tokio::test]
async fn a_plan_says_that_the_log_is_nearly_full_and_that_a_durable_is_paused() {
    let stack = Stack::bare().await;
    for at in 0..20 {
        let junk = "x".repeat(50_000);
        stack.raw.publish(&format!("orders.placed.junk-{at}"), &[], &junk).await.unwrap();
    }
    let until = Timestamp::now() + Duration::from_secs(3_600);
    stack.raw.pause("ORDERS", "ship-order", until).await;
    stack.raw.change_stream("ORDERS", json!({ "max_bytes": 1_200_000 })).await.unwrap();
    let plan = quadrille(&stack.server, "topology plan --json").await.json();
    let concerns = plan["concerns"].to_string();
    assert_eq!(plan["concerns"].as_array().expect("a list").len(), 2, "{concerns}");
    assert!(concerns.contains("stream ORDERS is 8"), "{concerns}");
    assert!(concerns.contains("durable ship-order is paused for another 35"), "{concerns}");
    let plan = quadrille(&stack.server, "topology plan").await;
    assert!(plan.stderr.contains("durable ship-order is paused"), "{}", plan.stderr);
}

#[tokio::test]
async fn a_worker_without_its_services_url_does_not_start_and_names_the_setting() {
    let stack = Stack::bare().await;
    for (worker, variable, setting) in [
        ("charge-customer", "QUADRILLE_CHARGE_CUSTOMER__URL", "charge-customer.url is not set"),
        ("ship-order", "QUADRILLE_SHIP_ORDER__URL", "ship-order.url is not set"),
        ("ship-order", "QUADRILLE_SHIP_ORDER__QUOTE_URL", "ship-order.quote_url is not set"),
    ] {
        let mut worker = stack.launcher().launch(&Launch::of(worker).env(variable, ""));
        assert!(!worker.ended().await.success(), "{setting}");
        let said = worker.said();
        let fatal: Vec<_> = said.lines().filter(|line| line.contains("the process ends")).collect();
        assert_eq!(fatal.len(), 1, "{said}");
        let fatal: serde_json::Value = serde_json::from_str(fatal[0]).expect("a line of JSON");
        assert_eq!(fatal["level"], "ERROR");
        assert!(fatal["error"].as_str().expect("a text").contains(setting), "{said}");
    }
}

#[tokio::test]
async fn metrics_are_explained_and_there_from_the_start() {
    let mut stack = Stack::running(1).await;
    let worker = stack.worker("charge-customer");
    let page = eventually("the log was measured", async || {
        let page = worker.page("/metrics").await.ok()?;
        page.contains("quadrille_stream_bytes").then_some(page)
    })
    .await;
    for line in [
        "# HELP quadrille_parked_total ",
        "# TYPE quadrille_parked_total counter",
        "quadrille_panics_total{durable=\"charge-customer-undo\"} 0",
        "quadrille_parked_total{durable=\"charge-customer\",reason=\"malformed-header\"} 0",
        "quadrille_retries_total{worker=\"charge-customer\"} 0",
        "quadrille_in_hand{durable=\"charge-customer\"} 0",
        "quadrille_oldest_in_hand_seconds{durable=\"charge-customer\"} 0",
        "quadrille_stream_limit_bytes{stream=\"ORDERS\"} 1073741824",
        "quadrille_connected 1",
        "quadrille_build_info{",
    ] {
        assert!(page.contains(line), "{line}: {page}");
    }
    let ids = stack.place_all("o", &[Fate::Completes, Fate::Declined]).await;
    stack.closed(&ids).await;
    let page = stack.worker("charge-customer").page("/metrics").await.unwrap();
    for line in [
        "# TYPE quadrille_handling_seconds histogram",
        "quadrille_handling_seconds_bucket{durable=\"charge-customer\",le=\"120\"} 2",
        "quadrille_outcomes_total{worker=\"charge-customer\",outcome=\"done\",reason=\"\"} 1",
        "quadrille_outcomes_total{worker=\"charge-customer\",outcome=\"undone\",reason=\"\"} 1",
        "quadrille_outcomes_total{worker=\"charge-customer\",outcome=\"refused\",reason=\"insuff",
    ] {
        assert!(page.contains(line), "{line}: {page}");
    }
}
