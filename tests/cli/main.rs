//! `quadrille` as an operator's script runs it: the built program, its exit codes and its JSON,
//! against a real server and real workers.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod audit;
mod bad_day;
mod breaker;
mod held;
mod lines;
mod occupied;
mod open;
mod parked;
mod recipes;
mod replay;
mod why;

use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tests::cluster::Cluster;
use tests::eventually::eventually;
use tests::server::Server;
use tests::stack::{Build, Launch, Stack, program};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

/// What a command printed.
struct Said {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Said {
    /// The only JSON document on stdout.
    fn json(&self) -> Value {
        let Self { stdout, stderr, .. } = self;
        serde_json::from_str(stdout).unwrap_or_else(|error| panic!("{error}: {stdout}{stderr}"))
    }
}

async fn quadrille(server: &Server, line: &str) -> Said {
    let output = Command::new(program(Build::Shipped, "quadrille"))
        .env_clear()
        .args(["--nats", &server.url()])
        .args(line.split_whitespace())
        .output()
        .await
        .expect("it runs");
    let text = |bytes| String::from_utf8(bytes).expect("it prints text");
    Said { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

#[tokio::test]
async fn a_hidden_command_is_offered_by_no_error() {
    // Once a variable names a broker, a line without anything is one without a command.
    for (line, offers) in [
        ("", "[subcommands: dev, place,"),
        ("tie", "unrecognized"),
        ("place --price -5", "at /lines/0/unit_price"),
        ("place --count -5", "a number of orders such as 1000"),
        ("place --in-flight -5", "unexpected argument '-5'"),
        ("place --lines /nowhere", "cannot read /nowhere"),
    ] {
        let said = Command::new(program(Build::Shipped, "quadrille"))
            .env_clear()
            .env("QUADRILLE_NATS__URL", "nats://127.0.0.1:1")
            .args(line.split_whitespace())
            .output();
        let output = said.await.expect("it runs");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(offers) && !said.contains("tied"), "{said}");
        assert!(!said.contains("tip: to pass"), "a tip that is wrong: {said}");
        assert_eq!(output.status.code(), Some(2), "{line}");
    }
}

#[tokio::test]
async fn a_broker_is_made_ready_and_what_is_not_named_is_kept() {
    let server = Server::start().await;
    let early = quadrille(&server, "place --id A1 --json").await;
    assert_eq!((early.code, early.stdout.as_str()), (Some(1), ""));
    assert!(early.stderr.contains("there is no log ORDERS"), "{}", early.stderr);

    let plan = quadrille(&server, "topology plan --json").await;
    let changes = plan.json()["changes"].as_array().expect("a list").clone();
    assert_eq!(plan.code, Some(2));
    assert!(changes.iter().all(|change| change["kind"] == "create"), "{changes:?}");
    assert_eq!(changes[0]["object"], "stream ORDERS");
    let dry = quadrille(&server, "topology apply --json").await;
    assert_eq!((dry.code, &dry.json()["applied"]), (Some(2), &json!(false)));

    let apply = "topology apply --profile dev --ack-wait 5s --max-bytes 2GiB --json --write";
    let applied = quadrille(&server, apply).await;
    assert_eq!((applied.code, &applied.json()["applied"]), (Some(0), &json!(true)));
    let plan = quadrille(&server, "topology plan --json").await;
    assert_eq!((plan.code, &plan.json()["changes"]), (Some(0), &json!([])));
    assert_eq!(
        plan.json()["kept"],
        json!(["num_replicas", "ack_wait", "max_bytes", "parked_max_bytes", "kept_max_bytes"])
    );

    let named = quadrille(&server, "topology plan --ack-wait 6s --max-bytes 3GiB").await;
    let repeated = "--ack-wait '6s' --max-bytes 3GiB --write` makes them";
    assert_eq!(named.code, Some(2));
    assert!(named.stderr.contains(repeated), "{}", named.stderr);
}

#[tokio::test]
async fn a_size_that_is_not_made_smaller_is_told_with_the_reason_and_the_way() {
    let stack = Stack::bare().await;
    let log = stack.raw.stream("ORDERS").await["config"]["max_bytes"].clone();
    stack.raw.publish("orders.placed.A1", &[], &"x".repeat(3_000)).await.unwrap();
    for line in ["plan", "apply", "apply --write"] {
        let said = quadrille(&stack.server, &format!("topology {line} --max-bytes 1MiB")).await;
        let why = "stream ORDERS is not made smaller (1MiB was asked, it has";
        let way = "`nats stream edit ORDERS --max-bytes 1048576`";
        for part in [why, "because its size may have been raised", way] {
            assert!(said.stderr.contains(part), "{line}: {part}: {}", said.stderr);
        }
        assert_eq!(said.code, Some(0), "it is as it should be: {}", said.stderr);
    }
    assert_eq!(stack.raw.stream("ORDERS").await["config"]["max_bytes"], log);
    let said = quadrille(&stack.server, "topology plan --max-bytes 2KiB --json").await.json();
    let concerns = said["concerns"].to_string();
    assert!(concerns.contains("because it holds 3"), "{concerns}");
    let way = "`nats stream edit ORDERS --max-bytes SIZE` takes any size above that";
    assert!(concerns.contains(way), "{concerns}");
    let bytes = stack.raw.stream("ORDERS").await["state"]["bytes"].as_u64().unwrap();
    stack.raw.change_stream("ORDERS", json!({ "max_bytes": bytes + 10 })).await.unwrap();
    let full = quadrille(&stack.server, "topology plan").await;
    assert!(full.stderr.contains("% full"), "{}", full.stderr);
    let raised = quadrille(&stack.server, "topology apply --max-bytes 1GiB --write").await;
    assert_eq!(
        (raised.code, raised.stderr.contains("% full")),
        (Some(0), false),
        "{}",
        raised.stderr
    );
    let kept = quadrille(&stack.server, "topology plan").await;
    assert!(!kept.stderr.contains("not made smaller"), "nobody asked: {}", kept.stderr);
}

#[tokio::test]
async fn a_profile_that_needs_more_servers_says_so_and_that_nothing_was_done() {
    let server = Server::start().await;
    let apply = "topology apply --profile cluster --write";
    let said = quadrille(&server, apply).await;
    assert_eq!((said.code, said.stdout.as_str()), (Some(1), ""), "{}", said.stderr);
    for part in ["nothing was changed", "the profile cluster needs three servers"] {
        assert!(said.stderr.contains(part), "{part}: {}", said.stderr);
    }
    let plan = quadrille(&server, "topology plan --json").await.json();
    assert_eq!(plan["changes"][0]["kind"], "create", "nothing is there");
}

#[tokio::test]
async fn a_log_on_a_cluster_is_made_larger_and_keeps_its_copies() {
    let nodes = Cluster::start(3).await.into_nodes();
    for apply in ["--profile cluster", "--max-bytes 2GiB"] {
        let applied = quadrille(&nodes[0], &format!("topology apply {apply} --write")).await;
        assert_eq!(applied.code, Some(0), "{apply}: {}", applied.stderr);
    }
    let same = quadrille(&nodes[0], "topology plan --profile cluster --json").await;
    assert_eq!((same.code, &same.json()["changes"]), (Some(0), &json!([])));
    let fewer = quadrille(&nodes[0], "topology plan --profile single").await;
    let said = "ORDERS: num_replicas is 3, but must be 1; it then survives fewer lost nodes";
    assert_eq!(fewer.code, Some(2));
    assert!(fewer.stdout.contains(said), "{}", fewer.stdout);
    let buckets = "bucket breakers keeps its 3 copies, because another flow";
    assert!(fewer.stderr.contains(buckets), "{}", fewer.stderr);
}

#[tokio::test]
async fn an_order_is_placed_and_traced_and_its_stock_is_set_and_shown() {
    let stack = Stack::running(1).await;
    let set = quadrille(&stack.server, "stock set TULIP=100 --json").await;
    assert_eq!(set.json(), json!([{ "sku": "TULIP", "stocked": 100, "free": 100, "held": 0 }]));

    let place = "place --id A1 --sku TULIP --quantity 12 --json";
    let placed = quadrille(&stack.server, place).await.json();
    let sequence = placed["sequence"].as_u64().expect("a sequence");
    let receipt = |placed| {
        let subject = "orders.placed.A1";
        json!({ "id": "A1", "sequence": sequence, "placed": placed, "subject": subject })
    };
    assert_eq!(placed, receipt("now"));
    assert_eq!(quadrille(&stack.server, place).await.json(), receipt("before"));
    let other = quadrille(&stack.server, "place --id A1 --sku TULIP --quantity 13").await;
    assert_eq!(other.code, Some(1));
    assert!(other.stderr.contains("already placed, with other data"), "{}", other.stderr);

    stack.closed(&[quadrille::SagaId::parse("A1").unwrap()]).await;
    let story = quadrille(&stack.server, "trace A1 --json").await.json();
    let events = story["events"].as_array().expect("a list");
    assert_eq!((events.len(), &story["state"]), (6, &json!("completed")));
    assert_eq!(events[5]["type"], "order.completed.v1");
    assert_eq!(quadrille(&stack.server, "trace A2 --json").await.code, Some(1));

    let shown = eventually("what is completed leaves the shelf", async || {
        let shown = quadrille(&stack.server, "stock show TULIP --json").await;
        (shown.json()[0]["stocked"] == 88).then_some(shown)
    })
    .await;
    let state = shown.json()[0]["state"].as_str().expect("its shelf is clear").to_owned();
    let sold = json!({ "sku": "TULIP", "stocked": 88, "free": 88, "held": 0, "state": state });
    assert_eq!(shown.json(), json!([sold]));
    let declined = "place --id A3 --sku TULIP --payment-method pm_card_chargeDeclined --wait";
    let declined = quadrille(&stack.server, declined).await;
    let why = "order A3 is cancelled, because charge-customer refused payment (generic_decline)";
    assert_eq!(declined.code, Some(1), "{}", declined.stderr);
    assert!(declined.stderr.contains(why), "{}", declined.stderr);
    let listed = quadrille(&stack.server, "orders ls --state set-aside").await;
    assert_eq!(listed.code, Some(2));
    assert!(listed.stderr.contains("open, parked, cancelling"), "{}", listed.stderr);
    let missing = quadrille(&stack.server, "stock show TULIP NONE --json").await;
    assert_eq!((missing.code, missing.json()), (Some(1), shown.json()));
    let count = format!("stock count TULIP=90@{state}");
    let counted = quadrille(&stack.server, &count).await;
    assert!(counted.stderr.contains("TULIP had 88, has 90: 90 to sell"), "{}", counted.stderr);
    let again = quadrille(&stack.server, &count).await;
    assert!(again.stderr.contains("count it again"), "{}", again.stderr);
    let bare = quadrille(&stack.server, "stock count TULIP=90").await;
    let called = program(Build::Shipped, "quadrille").display().to_string();
    let called = format!("`{called} stock show` prints the state");
    assert!(bare.stderr.contains(&called), "as the user has called it: {}", bare.stderr);
    assert!(!counted.stdout.contains("state"), "it has none, so no column: {}", counted.stdout);
    let receive = "stock receive --receipt d1 TULIP=10";
    for before in [false, true] {
        let received = quadrille(&stack.server, &format!("{receive} --json")).await;
        assert_eq!(received.json()[0]["stocked"], 100);
        let told =
            received.stderr.contains("this receipt was entered before, so nothing was added");
        assert_eq!((told, received.stderr.contains("had 90, has 100")), (before, !before));
        assert_eq!(received.json()[0]["repeated"] == true, before);
    }
    let delisted = quadrille(&stack.server, "stock delist TULIP").await;
    assert!(delisted.stderr.contains("has 0: 0 to sell"), "{}", delisted.stderr);
    let refused = quadrille(&stack.server, "stock delist NEVER").await;
    assert!(refused.stderr.contains("the inventory worker refuses"), "{}", refused.stderr);
}

/// No worker runs, so the wait would last a minute.
#[tokio::test]
async fn a_wait_for_an_order_says_what_it_waits_for() {
    let stack = Stack::bare().await;
    let mut command = Command::new(program(Build::Shipped, "quadrille"));
    command.env_clear().args(["--nats", &stack.server.url(), "place", "--id", "A1", "--wait"]);
    command.stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let first = timeout(Duration::from_secs(20), lines.next_line()).await;
    let first = first.expect("it speaks within the minute").unwrap();
    assert_eq!(first.as_deref(), Some("A1: waits for reserve-inventory"));
}

#[tokio::test]
async fn an_order_is_cancelled_until_it_is_too_late() {
    let mut stack = Stack::running(1).await;
    for id in ["A1", "A2"] {
        stack.worker("ship-order").kill();
        stack.worker("ship-order").ended().await;
        stack.workers.retain(|worker| worker.name() != "ship-order");
        quadrille(&stack.server, &format!("place --id {id} --sku TULIP --json")).await.json();
        if id == "A1" {
            let cancel = "cancel A1 --reason twice --by ann --wait --json";
            let cancelled = quadrille(&stack.server, cancel).await;
            assert_eq!(cancelled.code, Some(0), "{}", cancelled.stderr);
            assert_eq!(cancelled.json()["state"], "cancelled");
            let again = quadrille(&stack.server, "cancel A1 --json").await;
            assert_eq!((again.code, &again.json()["asked"]), (Some(0), &Value::Null));
        }
        stack.start(Launch::of("ship-order")).await;
    }
    stack.closed(&[quadrille::SagaId::parse("A2").unwrap()]).await;
    let late = quadrille(&stack.server, "cancel A2 --wait --json").await;
    assert_eq!((late.code, &late.json()["refused"]), (Some(1), &json!("too-late")));
    assert!(late.stderr.contains("A2 is completed"), "{}", late.stderr);
    let none = quadrille(&stack.server, "cancel a2 --json").await;
    assert_eq!((none.code, &none.json()["refused"]), (Some(1), &json!("not-found")));
    assert!(none.stderr.contains("no order a2 was opened in the log ORDERS"), "{}", none.stderr);
    let why = quadrille(&stack.server, "why a2 --json").await.json();
    assert_eq!(why["looked_at"][0], "0 events in ORDERS", "nothing was stored: {why}");
    let story = quadrille(&stack.server, "trace A1 --json").await.json();
    let wish = story["events"].as_array().unwrap().iter().find(|line| line["slot"] == "cancel");
    assert_eq!(wish.unwrap()["type"], "order.cancel-requested.v1");
    stack.quiet().await;
    stack.check().await;
}
