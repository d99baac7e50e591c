//! What is in the workers' hands: in no log and in no rows, so each replica is asked.

use std::collections::BTreeSet;

use jiff::Timestamp;
use quadrille::SagaId;
use quadrille::worker::held::subject;
use serde_json::{Value, json};
use tests::eventually::eventually;
use tests::stack::{Build, Fate, Launch, Stack, order, program};
use tokio::process::Command;

use crate::asked::Query;

/// What `quadrille` prints where it succeeds: stdout and stderr.
async fn quadrille(stack: &Stack, line: &str) -> (String, String) {
    let (code, stdout, stderr) = said(stack, line).await;
    assert_eq!(code, Some(0), "{line}: {stderr}");
    (stdout, stderr)
}

/// Its exit code, stdout and stderr.
pub(crate) async fn said(stack: &Stack, line: &str) -> (Option<i32>, String, String) {
    let output = Command::new(program(Build::Shipped, "quadrille"))
        .env_clear()
        .args(["--nats", &stack.server.url()])
        .args(line.split_whitespace())
        .output()
        .await
        .expect("it runs");
    let text = |bytes| String::from_utf8(bytes).expect("it prints text");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// An operator's word about the payment gateway, as `quadrille breaker` writes it.
async fn say(stack: &Stack, mode: &str) {
    let until_ms = Timestamp::now().as_millisecond() + 600_000;
    let word = json!({ "mode": mode, "by": "ann", "reason": "test", "until_ms": until_ms });
    let subject = "$KV.breakers.payment-gateway.override";
    stack.client().publish(subject, word.to_string().into()).await.unwrap();
}

/// The list, once it has so many orders.
async fn listed(query: &Query, filter: &str, orders: usize) -> Value {
    eventually(&format!("{filter} lists {orders}"), async || {
        let list = query.ok(&format!("/orders?{filter}")).await;
        (list["orders"].as_array().unwrap().len() == orders).then_some(list)
    })
    .await
}

/// Each order of the list says of itself what the list is of.
async fn each_says_so(query: &Query, list: &Value, code: &str) {
    for row in list["orders"].as_array().unwrap() {
        assert_eq!(row["why"]["code"], code, "{row}");
        let path = format!("/orders/{}/why", row["id"].as_str().unwrap());
        eventually(&format!("{path} is {code}"), async || {
            (query.ok(&path).await["code"] == code).then_some(())
        })
        .await;
    }
}

/// State and reason of an order, as a list or the search shows it.
async fn shown(query: &Query, path: &str, id: &str) -> [Value; 2] {
    let list = query.ok(path).await;
    let rows = list["orders"].as_array().or(list["found"].as_array());
    let row = rows.unwrap().iter().map(|row| row.get("saga").unwrap_or(row));
    let row = row.into_iter().find(|row| row["id"] == id).expect("it is listed");
    ["state", "reason"].map(|name| row[name].clone())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_whose_worker_tries_again_are_listed_with_attempt_error_and_next_try() {
    let mut stack = Stack::bare().await;
    stack.start(Launch::of("reserve-inventory")).await;
    stack.start(Launch::of("charge-customer")).await;
    stack.fill_stock().await;
    let query = Query::start(&stack, "query").await;
    let nobody = query.ok("/orders?held=any").await;
    assert_eq!((&nobody["orders"], &nobody["count"]["rows"]), (&json!([]), &json!(0)));
    let down = json!({ "operations": ["create", "confirm"], "error_rate": 1 });
    stack.sandbox.set_faults("payment", &down).await;
    let ids = stack.place_all("held", &[Fate::Completes; 3]).await;
    let list = eventually("each order is in hand, and one has failed", async || {
        let list = query.ok("/orders?held=any").await;
        let failed = query.ok("/orders?held=retrying&state=open").await;
        let all = list["orders"].as_array().unwrap().len() == ids.len();
        (all && failed["orders"] != json!([])).then_some(failed)
    })
    .await;
    let replicas = |worker: &str| {
        let asked = list["asked"].as_array().unwrap().iter();
        let asked = asked.filter(|one| one["worker"] == worker).map(|one| &one["replicas"]);
        asked.collect::<Vec<_>>()
    };
    assert_eq!(replicas("charge-customer"), [&json!(1)], "{list}");
    assert_eq!(replicas("ship-order"), [&json!(0)], "who does not run does not answer");
    let failed = list["orders"][0]["id"].as_str().unwrap().to_owned();
    let message: Value = eventually("its worker names it", async || {
        let held = query.ok(&format!("/held?id={failed}")).await;
        held["held"].as_array().unwrap().first().cloned()
    })
    .await;
    assert_eq!(message["worker"], "charge-customer", "{message}");
    assert!(message["attempt"].as_u64() >= Some(1), "{message}");
    assert!(message["last_error"].as_str().unwrap().contains("503"), "{message}");
    assert!(message["since"].is_string(), "{message}");
    assert!(message.get("next_try").is_some(), "{message}");
    assert_eq!(query.ok("/orders?held=any&state=completed").await["orders"], json!([]));
    assert_eq!(query.get("/orders?held=perhaps").await.status, 400);
    stack.sandbox.clear_faults().await;
    eventually("nothing is in hand any longer", async || {
        (query.ok("/held").await["held"] == json!([])).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_are_listed_by_why_they_wait_and_by_whose_hand_they_are_in() {
    let mut stack = Stack::bare().await;
    stack.start(Launch::of("reserve-inventory")).await;
    stack.start(Launch::of("charge-customer")).await;
    stack.fill_stock().await;
    let query = Query::start(&stack, "query").await;
    stack.place_all("sent", &[Fate::Completes; 3]).await;
    // Nobody ships them.
    let list = listed(&query, "why=no-worker", 3).await;
    each_says_so(&query, &list, "no-worker").await;
    let looked_at = json!({ "rows": 3, "all": true });
    assert_eq!((&list["count"]["rows"], &list["looked_at"]), (&json!(3), &looked_at), "{list}");
    // The breaker decides and does nothing, so that what fails is tried again.
    say(&stack, "observe").await;
    let down = json!({ "operations": ["create", "confirm"], "error_rate": 1 });
    stack.sandbox.set_faults("payment", &down).await;
    stack.place_all("charged", &[Fate::Completes; 2]).await;
    let bad = stack.raw.publish("orders.placed.bad-1", &[], r#"{"customer":7}"#).await;
    bad.expect("anything is stored");
    let list = listed(&query, "why=retrying", 2).await;
    each_says_so(&query, &list, "retrying").await;
    let held = &list["orders"][0]["held"][0];
    assert_eq!(held["worker"], "charge-customer", "{list}");
    assert!(held["last_error"].as_str().unwrap().contains("503"), "{list}");
    assert_eq!(list["looked_at"], json!({ "rows": 2, "all": true }), "those in hand alone");
    let by_state = listed(&query, "state=parked", 1).await;
    assert_eq!(by_state["orders"][0]["state"], "parked");
    let list = listed(&query, "why=parked", 1).await;
    assert_eq!(list["orders"][0]["state"], "parked");
    assert_eq!(list["orders"][0]["id"], "bad-1", "{list}");
    each_says_so(&query, &list, "parked").await;

    let first = query.ok("/orders?why=no-worker&limit=2&state=open").await;
    assert_eq!(first["orders"].as_array().unwrap().len(), 2, "{first}");
    let after = first["next"].as_str().expect("there is one more");
    let rest = query.ok(&format!("/orders?why=no-worker&limit=2&state=open&after={after}")).await;
    assert_eq!(rest["orders"].as_array().unwrap().len(), 1, "{rest}");
    assert_ne!(rest["orders"][0]["id"], first["orders"][1]["id"], "{rest}");
    for (filter, orders) in [
        ("why=no-worker&customer=cus_1001", 3),
        ("why=no-worker&customer=cus_1", 0),
        ("why=no-worker&state=completed", 0),
        ("why=retrying&held=retrying&order=oldest", 2),
        ("why=parked&held=any", 0),
        ("state=parked&why=no-worker", 0),
        ("why=undo-blocked", 0),
    ] {
        listed(&query, filter, orders).await;
    }
    let perhaps = query.get("/orders?why=perhaps").await;
    assert_eq!(perhaps.status, 400, "{perhaps:?}");
    assert!(perhaps.json["detail"].as_str().unwrap().contains("no-worker, consumer-lag"));

    say(&stack, "paused").await;
    let list = listed(&query, "why=breaker-paused", 2).await;
    each_says_so(&query, &list, "breaker-paused").await;

    let (table, note) = quadrille(&stack, "orders ls --held").await;
    let lines: Vec<_> = table.lines().collect();
    assert_eq!(lines.len(), 3, "{table}");
    let headings = ["id", "worker", "attempt", "next try", "last error"];
    assert!(headings.iter().all(|heading| lines[0].contains(heading)), "{table}");
    assert!(table.contains("charged-0") && table.contains("charge-customer"), "{table}");
    assert!(table.contains("503"), "{table}");
    assert!(note.contains("no replica of ship-order answers"), "{note}");
    let (json, _) = quadrille(&stack, "orders ls --held=retrying --json").await;
    let rows: Vec<Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), 2, "{json}");
    assert!(rows[0]["held"][0]["attempt"].as_u64() >= Some(1), "{json}");
    let (table, note) = quadrille(&stack, "orders ls --why no-worker").await;
    assert_eq!(table.matches("no-worker").count(), 3, "{table}");
    assert!(note.contains("looked at"), "{note}");
    let (_, note) = quadrille(&stack, "orders ls --limit 2").await;
    assert!(note.contains("2 of 6 (a larger --limit may show more), as of"), "{note}");
    let (code, _, error) = said(&stack, "orders ls --limit 0").await;
    assert_eq!((code, error.contains("1 or more")), (Some(2), true), "{error}");
}

/// `nats req` waits for 5 s.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_ends_before_a_stock_client_gives_up() {
    let stack = Stack::bare().await;
    let query = Query::start(&stack, "query").await;
    stack.place_all("lost", &[Fate::Completes; 12]).await;
    stack.raw.acknowledge_all("ORDERS", "reserve-inventory").await.unwrap();
    listed(&query, "state=open", 12).await;
    // Each needs a look of its own, of half a second at least where a replica says nothing.
    let _silent = stack.raw.hear(&subject("reserve-inventory")).await;
    let list = query.ok("/orders?why=step-not-delivered").await;
    let looked_at = list["looked_at"]["rows"].as_u64().unwrap();
    assert!((1..=4).contains(&looked_at) && list["next"].is_string(), "{looked_at}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_that_waits_for_a_human_is_parked_in_every_list() {
    let mut stack = Stack::bare().await;
    stack.start(Launch::of("reserve-inventory")).await;
    stack.fill_stock().await;
    let query = Query::start(&stack, "query").await;
    stack.place_all("sent", &[Fate::Completes; 2]).await;
    let bad = stack.raw.publish("orders.placed.bad-1", &[], r#"{"customer":7}"#).await;
    bad.expect("anything is stored");
    listed(&query, "state=parked", 1).await;
    listed(&query, "state=open", 3).await;
    for path in ["/orders", "/orders?state=open", "/orders?state=open&order=worst", "/find?q=bad-1"]
    {
        eventually(&format!("{path} says parked"), async || {
            (shown(&query, path, "bad-1").await == ["parked", "invalid-field"]).then_some(())
        })
        .await;
        let list = query.ok(path).await;
        let listed = list.get("orders").and_then(Value::as_array).into_iter().flatten();
        let mut others = listed.filter(|row| row["id"] != "bad-1");
        assert!(others.all(|row| row["state"] == "open"), "{list}");
    }
    // One that waits because of what lies in its slot is parked for another reason, and is one.
    stack.raw.publish("orders.inventory.taken-1", &[], "junk").await.unwrap();
    stack.place(&SagaId::parse("taken-1").unwrap(), &order(Fate::Completes, 0)).await.unwrap();
    let ids = |list: &Value| -> BTreeSet<String> {
        let rows = list["orders"].as_array().unwrap().iter();
        let rows = rows.filter(|row| row["state"] == "parked");
        rows.map(|row| row["id"].as_str().unwrap().to_owned()).collect()
    };
    eventually("every list shows both as parked", async || {
        let all = ids(&query.ok("/orders").await);
        (all == ["bad-1", "taken-1"].map(str::to_owned).into()).then_some(())
    })
    .await;
    let parked = listed(&query, "state=parked", 2).await;
    assert_eq!(ids(&parked), ids(&query.ok("/orders").await), "{parked}");
    listed(&query, "state=parked&why=alien-event", 1).await;
    listed(&query, "state=parked&why=parked", 1).await;
    // What was set aside says so, and no worker is asked: why it waits is told where that is asked.
    let mut asked = stack.raw.hear(&subject("ship-order")).await;
    let row = query.ok("/orders?state=parked").await["orders"][0].take();
    assert_eq!(asked.more().await, [], "{row}");
    assert_eq!([row.get("why"), row.get("held")], [None, None], "{row}");
    assert!(row["reason"].is_string(), "{row}");
    // Much that was set aside long ago hides nothing.
    for order in 0..1_001 {
        let old = format!("parked.orders.reserve-inventory.old-{order}");
        stack.raw.publish(&old, &[], "{}").await.unwrap();
    }
    let again = listed(&query, "state=parked", 2).await;
    assert_eq!(ids(&again), ids(&parked), "{again}");
    let open = query.ok("/orders?state=open").await["count"]["rows"].take();
    assert_eq!(again["looked_at"], json!({ "rows": open, "all": true }), "the shorter way");
    listed(&query, "why=parked", 1).await;
    // The rows alone, while nobody says what was set aside.
    stack.server.process.pause();
    assert_eq!(shown(&query, "/orders", "bad-1").await, [json!("open"), Value::Null]);
    stack.server.process.resume();
}
